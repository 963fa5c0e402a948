import ArgumentParser

/// A number of bytes on the command line: `4194304`, `4096KiB` or `4MiB`.
struct ByteCount: ExpressibleByArgument {
  let value: Int

  private static let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0)]

  /// Reads a whole number and a unit; nil for anything else.
  init?(argument: String) {
    for (unit, shift) in Self.units where argument.hasSuffix(unit) {
      guard let count = Int(argument.dropLast(unit.count)), count >= 0, count <= Int.max >> 31 else {
        return nil
      }
      value = count << shift
      return
    }
    return nil
  }
}

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
