import Support
import Tensors

/// The measured limits of one core: peak multiply-adds and memory bandwidth.
public struct MachineRoofline: Sendable {
  /// Floating-point operations per second of multiply-adds in registers, two per multiply-add.
  public let flops: Double
  /// Bytes per second that a = b + ½·c reads and writes, in buffers larger than the caches.
  ///
  /// Three streams are counted; most CPUs also read each line before they overwrite it.
  public let bytesPerSecond: Double

  private static let repetitions = 7
  private static let floatCount = 16 << 20

  /// Measures for about half a second and takes the best of seven repetitions.
  public init(_ kernels: RooflineKernels) {
    // A first call determines the iterations of about 10 ms.
    var iterations = 1 << 16
    let trial = Self.seconds { _ = kernels.multiplyAdd(iterations) }
    iterations = max(iterations, Int(Double(iterations) * 0.01 / max(trial, 1e-6)))
    let count = iterations
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

  static func seconds(_ body: () -> Void) -> Double { ContinuousClock().measure(body).seconds }
}
