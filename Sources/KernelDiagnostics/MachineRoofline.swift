import Models
import Support
import Synchronization
import Tensors

/// The measured limits of one core: peak multiply-adds, and the bandwidths of its L2 cache and of memory.
public struct MachineRoofline: Sendable {
  /// Floating-point operations per second of multiply-adds in registers, two per multiply-add.
  public let flops: Double
  /// Bytes per second that a = b + ½·c reads and writes, in buffers larger than the caches.
  ///
  /// Three streams are counted; most CPUs also read each line before they overwrite it.
  public let bytesPerSecond: Double
  /// The same in buffers that the L2 cache holds and the L1 cache does not.
  public let cacheBytesPerSecond: Double

  private static let repetitions = 7
  private static let floatCount = 16 << 20
  /// 3 × 96 KiB: more than an L1 cache, of 32 or 48 KiB, and less than an L2 cache, of 512 KiB or more.
  private static let cachedFloatCount = 24 << 10

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
    bytesPerSecond = Self.triadBandwidth(kernels, floatCount: Self.floatCount, passes: 1)
    cacheBytesPerSecond = Self.triadBandwidth(kernels, floatCount: Self.cachedFloatCount, passes: 200)
  }

  /// Measures several threads at once, each with its own buffers.
  ///
  /// - Parameters:
  ///   - kernels: The loops of an instruction set that this CPU supports.
  ///   - pool: Its workers measure.
  /// - Returns: The means of the threads: what each has of the limits that all of them share.
  public static func mean(_ kernels: RooflineKernels, over pool: WorkerPool) -> MachineRoofline {
    let all = pool.measureTogether { MachineRoofline(kernels) }
    func mean(_ value: (MachineRoofline) -> Double) -> Double { all.reduce(0) { $0 + value($1) } / Double(all.count) }
    return MachineRoofline(
      flops: mean(\.flops), bytesPerSecond: mean(\.bytesPerSecond), cacheBytesPerSecond: mean(\.cacheBytesPerSecond))
  }

  private init(flops: Double, bytesPerSecond: Double, cacheBytesPerSecond: Double) {
    self.flops = flops
    self.bytesPerSecond = bytesPerSecond
    self.cacheBytesPerSecond = cacheBytesPerSecond
  }

  /// Returns the bytes per second that a = b + ½·c reads and writes.
  private static func triadBandwidth(_ kernels: RooflineKernels, floatCount: Int, passes: Int) -> Double {
    let buffers = (0..<3).map { _ in AlignedBuffer<Float>(count: floatCount) }
    for buffer in buffers { buffer.elements.update(repeating: 1) }
    let seconds = withExtendedLifetime(buffers) {
      best {
        for _ in 0..<passes { kernels.triad(buffers[0].pointer, buffers[1].pointer, buffers[2].pointer, floatCount) }
      }
    }
    return Double(12 * floatCount * passes) / seconds
  }

  private static func best(_ body: () -> Void) -> Double {
    (0..<repetitions).map { _ in seconds(body) }.min() ?? .infinity
  }

  static func seconds(_ body: () -> Void) -> Double { ContinuousClock().measure(body).seconds }
}

extension WorkerPool {
  /// Calls `body` once on every worker, starting when all of them are ready, and returns the results.
  func measureTogether<Value>(_ body: @escaping () -> Value) -> [Value] {
    let slots = UnsafeMutableBufferPointer<Value?>.allocate(capacity: workerCount)
    slots.initialize(repeating: nil)
    defer { slots.deinitialize().deallocate() }
    let start = StartLine(workerCount: workerCount)
    parallelFor(workerCount, with: (slots: slots, body: body, start: start)) { context, item, _ in
      let context = context.pointee
      // Otherwise a worker that is early could take the call of one that sleeps, and make both alone.
      context.start.wait()
      context.slots[item] = context.body()
    }
    return slots.compactMap { $0 }
  }
}
