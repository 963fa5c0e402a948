/// How far numbers are from the exact ones.
public struct ApproximationError: Sendable, Hashable {
  /// The Euclidean norm of the differences over that of the exact numbers.
  public let relativeL2: Double
  /// The largest difference over the root mean square of the exact numbers.
  public let worst: Double

  /// Measures an error; anything that is not a number makes it infinite.
  ///
  /// - Precondition: Both have the same count.
  public init(_ found: [Float], exact: [Double]) {
    precondition(found.count == exact.count, "\(found.count) numbers against \(exact.count)")
    var (errors, squares, worst) = (0.0, 0.0, 0.0)
    for (value, exact) in zip(found, exact) {
      let error = abs(Double(value) - exact)
      guard error.isFinite else {
        self.init(relativeL2: .infinity, worst: .infinity)
        return
      }
      errors += error * error
      squares += exact * exact
      worst = max(worst, error)
    }
    // All of them exact, also where nothing but zeros was expected.
    guard worst > 0 else {
      self.init(relativeL2: 0, worst: 0)
      return
    }
    self.init(
      relativeL2: (errors / squares).squareRoot(),
      worst: worst / (squares / Double(exact.count)).squareRoot())
  }

  private init(relativeL2: Double, worst: Double) {
    self.relativeL2 = relativeL2
    self.worst = worst
  }
}
