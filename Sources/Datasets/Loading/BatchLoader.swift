import Foundation
import Support
import Tensors

/// A loader that reads the batches of coming steps on a background thread, so that a step rarely waits for data.
///
/// The thread also prepares the images: normalization, augmentation, resolution. A ring of batches is allocated at the
/// start; loading allocates nothing. The content of a batch depends only on the number of its step.
public final class BatchLoader: @unchecked Sendable {
  private let split: ImageDataset.Split
  private let sampler: Sampler
  private let pipeline: ImagePipeline
  private let localRange: Range<Int>
  private let firstStep: Int
  private let firstPosition: @Sendable (Int) -> Int
  private let imageSize: @Sendable (Int) -> Int
  private let ring: [Slot]
  private let condition = NSCondition()
  // The condition guards the mutable state: counts of batches since the start, the thread's error, and its end.
  private var producedCount = 0
  private var consumedCount = 0
  private var failure: (any Error)?
  private var isStopping = false
  private var hasEnded = false

  private struct Slot: @unchecked Sendable {
    let images: Tensor
    let labels: AlignedBuffer<UInt8>
    let indices: UnsafeMutableBufferPointer<Int>
  }

  /// The bytes of the ring of batches.
  public var byteCount: Int { ring.reduce(0) { $0 + $1.images.byteCount + $1.labels.byteCount } }

  /// Creates a loader and starts reading the first batches.
  ///
  /// - Parameters:
  ///   - split: The training set.
  ///   - sampler: The order of the images; only this loader may use it from now on.
  ///   - pipeline: The preparation of the images.
  ///   - localRange: This rank's images within the global batch.
  ///   - firstStep: The step of the first batch.
  ///   - ringSize: The number of batches in the ring, at least 2; all but the consumed one are read ahead.
  ///   - maximumImageSize: The largest value of `imageSize`, which decides the size of the ring.
  ///   - imageSize: Returns a step's rows and columns of the images, 1 to `maximumImageSize`.
  ///   - firstPosition: Returns the position in the sampler's order at which a step's global batch starts.
  /// - Throws: `SystemThread.StartError` if the thread cannot be started.
  public init(
    split: ImageDataset.Split, sampler: sending Sampler, pipeline: ImagePipeline = ImagePipeline(),
    localRange: Range<Int>, firstStep: Int, ringSize: Int = 3, maximumImageSize: Int = 32,
    imageSize: @escaping @Sendable (Int) -> Int = { _ in 32 },
    firstPosition: @escaping @Sendable (Int) -> Int
  ) throws {
    precondition(ringSize >= 2, "a ring needs a batch to consume and one to produce")
    precondition(ImagePipeline.imageSizes.contains(maximumImageSize), "an image has 1 to 32 pixels per side")
    self.split = split
    self.sampler = sampler
    self.pipeline = pipeline
    self.localRange = localRange
    self.firstStep = firstStep
    self.firstPosition = firstPosition
    self.imageSize = imageSize
    ring = (0..<ringSize).map { _ in
      Slot(
        images: Tensor(Shape(localRange.count, maximumImageSize, maximumImageSize, 3)),
        labels: AlignedBuffer(count: localRange.count),
        indices: .allocate(capacity: localRange.count))
    }
    do {
      try SystemThread.start("wrn-loader") { [unowned(unsafe) self] in produceBatches() }
    } catch {
      // The deinitializer waits for the thread's end.
      hasEnded = true
      throw error
    }
  }

  /// Stops the thread and waits for its end.
  ///
  /// The caller must call it before it releases the last reference, because the thread holds none.
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

  /// Returns the batch of the next step, and blocks until it has been read.
  ///
  /// The memory of the previous batch may be overwritten from now on.
  ///
  /// - Throws: ``DatasetError`` if a record has an invalid label; the batches before it are returned first.
  public func next() throws -> Batch {
    condition.lock()
    defer { condition.unlock() }
    while producedCount <= consumedCount && failure == nil { condition.wait() }
    if producedCount <= consumedCount, let failure { throw failure }
    let slot = ring[consumedCount % ring.count]
    let step = firstStep + consumedCount
    consumedCount += 1
    condition.broadcast()
    return Batch(step: step, images: slot.images, imageSize: imageSize(step), labels: slot.labels)
  }

  /// The background thread: reads batches into the ring until it is stopped or fails.
  private func produceBatches() {
    condition.lock()
    while !isStopping {
      // The batch that was returned last is still in use.
      guard producedCount - consumedCount < ring.count - 1 else {
        condition.wait()
        continue
      }
      let number = producedCount
      condition.unlock()
      let result = Result { try read(step: firstStep + number, into: ring[number % ring.count]) }
      condition.lock()
      if case .failure(let error) = result {
        failure = error
        condition.broadcast()
        break
      }
      producedCount += 1
      condition.broadcast()
    }
    hasEnded = true
    condition.broadcast()
    condition.unlock()
  }

  private func read(step: Int, into slot: Slot) throws {
    let first = firstPosition(step) + localRange.lowerBound
    let size = imageSize(step)
    precondition(
      size * size * 3 <= slot.images.elementCountPerImage, "step \(step) has larger images than the ring")
    sampler.indices(at: first..<first + localRange.count, into: slot.indices)
    for (i, index) in slot.indices.enumerated() {
      slot.labels.pointer[i] = try pipeline.readTraining(
        split, at: index, epoch: (first + i) / sampler.count, size: size,
        into: slot.images.pointer + i * size * size * 3)
    }
  }
}

/// This rank's images and labels of one step.
public struct Batch: Sendable {
  /// The step, from 1.
  public let step: Int
  /// The images, `NHWC` with H = W = ``imageSize`` and C = 3, contiguous from the start of the tensor.
  ///
  /// The tensor's shape is that of the largest images of the run, so its end may be unused.
  public let images: Tensor
  /// The rows and columns of each image.
  public let imageSize: Int
  /// One class per image.
  public let labels: AlignedBuffer<UInt8>
}
