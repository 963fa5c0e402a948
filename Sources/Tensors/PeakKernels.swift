/// Loops of one build that do nothing but what limits kernels: multiply-adds in registers, streams of memory.
public struct PeakKernels: Sendable {
  /// The multiply-adds of one turn of ``multiplyAdd``.
  public let multiplyAddsPerTurn: Int
  /// Makes so many turns of independent multiply-adds and returns a number that depends on all of them.
  public let multiplyAdd: @Sendable (Int) -> Float
  /// Computes a = b + ½·c for so many numbers, a multiple of 16: a, b, c, count.
  public let triad: @Sendable (UnsafeMutablePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>, Int) -> Void

  /// Makes a table.
  public init(
    multiplyAddsPerTurn: Int, multiplyAdd: @escaping @Sendable (Int) -> Float,
    triad:
      @escaping @Sendable (
        UnsafeMutablePointer<Float>, UnsafePointer<Float>, UnsafePointer<Float>, Int
      ) -> Void
  ) {
    self.multiplyAddsPerTurn = multiplyAddsPerTurn
    self.multiplyAdd = multiplyAdd
    self.triad = triad
  }
}
