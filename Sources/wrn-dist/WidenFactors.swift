import ArgumentParser

/// `--widen-factor K` or `all` of those whose speed and accuracy are recorded.
struct WidenFactors: ExpressibleByArgument {
  let factors: [Int]

  init?(argument: String) {
    if argument == "all" {
      factors = [1, 2, 4, 10]
    } else if let factor = Int(argument) {
      factors = [factor]
    } else {
      return nil
    }
  }

  /// As it was given.
  var defaultValueDescription: String { factors.count == 1 ? "\(factors[0])" : "all" }
}
