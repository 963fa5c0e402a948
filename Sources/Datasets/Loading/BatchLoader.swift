import Foundation
import Tensors

/// This rank's images of one step.
public struct Batch: Sendable {
  /// The step, from 1.
  public let step: Int
  /// The images, `NHWC`, raw pixels 0 … 255.
  public let images: Tensor
  /// A class an image.
  public let labels: AlignedBuffer<UInt8>
}

/// Reads the images of coming steps on a thread of its own, so that a step never waits for data.
///
/// A few batches are allocated at the start and used in turn; nothing is allocated afterwards. What a step gets depends on
/// its number alone.
public final class BatchLoader: @unchecked Sendable {
  private let split: CIFAR10.Split
  private let sequence: Sampler
  private let localRange: Range<Int>
  private let firstPosition: @Sendable (Int) -> Int
  private let ring: [Slot]
  private let condition = NSCondition()
  // Guarded by the condition: batches filled and batches handed out so far, an error, and the wish to end.
  private var filledCount = 0
  private var takenCount = 0
  private var failure: (any Error)?
  private var isStopping = false
  private var hasEnded = false
  private let firstStep: Int

  private struct Slot: @unchecked Sendable {
    let images: Tensor
    let labels: AlignedBuffer<UInt8>
    let indices: UnsafeMutableBufferPointer<Int>
  }

  /// The bytes of the batches that were allocated.
  public var byteCount: Int { ring.reduce(0) { $0 + $1.images.byteCount + $1.labels.byteCount } }

  /// Starts reading the first batches.
  ///
  /// - Parameters:
  ///   - split: The images.
  ///   - sequence: Their order; used by this loader alone from now on.
  ///   - localRange: This rank's images within the global batch.
  ///   - firstStep: The step of the first batch.
  ///   - ringSize: The batches that are allocated; all but one are read ahead.
  ///   - firstPosition: Returns where in the order the global batch of a step begins.
  public init(
    split: CIFAR10.Split, sequence: sending Sampler, localRange: Range<Int>, firstStep: Int,
    ringSize: Int = 3, firstPosition: @escaping @Sendable (Int) -> Int
  ) {
    precondition(ringSize >= 2, "a ring needs a batch to use and one to fill")
    self.split = split
    self.sequence = sequence
    self.localRange = localRange
    self.firstStep = firstStep
    self.firstPosition = firstPosition
    ring = (0..<ringSize).map { _ in
      Slot(
        images: Tensor(Shape(localRange.count, 32, 32, 3)),
        labels: AlignedBuffer(count: localRange.count),
        indices: .allocate(capacity: localRange.count))
    }
    let thread = Thread { [unowned(unsafe) self] in fill() }
    thread.name = "wrn-loader"
    thread.start()
  }

  /// Ends the thread.
  ///
  /// Call it before the last reference goes.
  public func stop() {
    condition.lock()
    isStopping = true
    condition.broadcast()
    while !hasEnded { condition.wait() }
    condition.unlock()
  }

  deinit {
    stop()
    for slot in ring { slot.indices.deallocate() }
  }

  /// Returns the batch of the next step; the one before may be overwritten from now on.
  ///
  /// - Throws: `DatasetError` if a record cannot be used.
  public func next() throws -> Batch {
    condition.lock()
    defer { condition.unlock() }
    while filledCount <= takenCount && failure == nil { condition.wait() }
    if filledCount <= takenCount, let failure { throw failure }
    let slot = ring[takenCount % ring.count]
    let step = firstStep + takenCount
    takenCount += 1
    condition.broadcast()
    return Batch(step: step, images: slot.images, labels: slot.labels)
  }

  private func fill() {
    condition.lock()
    while !isStopping {
      // The batch handed out last is still in use.
      guard filledCount - takenCount < ring.count - 1 else {
        condition.wait()
        continue
      }
      let number = filledCount
      condition.unlock()
      let result = Result { try read(step: firstStep + number, into: ring[number % ring.count]) }
      condition.lock()
      if case .failure(let error) = result {
        failure = error
        condition.broadcast()
        break
      }
      filledCount += 1
      condition.broadcast()
    }
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  private func read(step: Int, into slot: Slot) throws {
    let first = firstPosition(step)
    sequence.indices(
      at: first + localRange.lowerBound..<first + localRange.upperBound, into: slot.indices)
    for (i, index) in slot.indices.enumerated() {
      slot.labels.pointer[i] = try split.readRecord(
        at: index, pixels: slot.images.pointer + i * slot.images.elementCountPerImage)
    }
  }
}
