import Tensors

/// What one core can do at most, measured.
public struct MachineRoofline: Sendable {
  /// Operations a second of multiply-adds in registers, two a multiply-add.
  public let flops: Double
  /// Bytes a second that a = b + ½·c reads and writes in buffers that no cache holds.
  ///
  /// Three streams are counted; most CPUs also read the line that is about to be overwritten.
  public let bytesPerSecond: Double

  private static let repetitions = 7
  private static let floatCount = 16 << 20

  /// Measures for about half a second; the best of seven counts.
  public init(_ kernels: RooflineKernels) {
    // Sized by a first run to about 10 ms.
    var turns = 1 << 16
    let trial = Self.seconds { _ = kernels.multiplyAdd(turns) }
    turns = max(turns, Int(Double(turns) * 0.01 / max(trial, 1e-6)))
    let count = turns
    let calculation = Self.best {
      if kernels.multiplyAdd(count).isNaN { preconditionFailure("s ← 1 + ½·s converges to 2") }
    }
    flops = 2 * Double(count * kernels.multiplyAddsPerIteration) / calculation
    let buffers = (0..<3).map { _ in AlignedBuffer<Float>(count: Self.floatCount) }
    for buffer in buffers { buffer.elements.update(repeating: 1) }
    let stream = withExtendedLifetime(buffers) {
      Self.best {
        kernels.triad(buffers[0].pointer, buffers[1].pointer, buffers[2].pointer, Self.floatCount)
      }
    }
    bytesPerSecond = Double(12 * Self.floatCount) / stream
  }

  private static func best(_ body: () -> Void) -> Double {
    (0..<repetitions).map { _ in seconds(body) }.min() ?? .infinity
  }

  static func seconds(_ body: () -> Void) -> Double {
    let time = ContinuousClock().measure(body).components
    return Double(time.seconds) + Double(time.attoseconds) * 1e-18
  }
}
