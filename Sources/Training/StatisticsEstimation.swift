import DataParallel
import Datasets
import Tensors

/// A fresh estimate of the running statistics: their mean over some batches of training images.
///
/// Statistics that were collected at another image size, or with other weights, do not fit the weights that are evaluated.
/// The images are the first of the sampler's order, as test images are prepared: without augmentation, at full size. They
/// are the same at every estimate, so it is a function of the weights alone.
package final class StatisticsEstimation {
  /// The largest number of batches per estimate: 10,240 images in batches of 256.
  private static let maximumBatchCount = 40

  private let split: ImageDataset.Split
  private let pipeline: ImagePipeline
  private let sampler: Sampler
  private let batchSize: Int
  private let localRange: Range<Int>
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>
  private let indices: UnsafeMutableBufferPointer<Int>

  /// Allocates the memory of one batch.
  ///
  /// - Parameters:
  ///   - split: The training images.
  ///   - pipeline: The preparation of the images.
  ///   - sampler: The order of the images; only this object may use it.
  ///   - plan: This rank's images of a batch.
  package init(split: ImageDataset.Split, pipeline: ImagePipeline, sampler: Sampler, plan: MicrobatchPlan) {
    self.split = split
    self.pipeline = pipeline
    self.sampler = sampler
    batchSize = plan.globalBatchSize
    localRange = plan.localImages
    let size = ResolutionSchedule.fullSize
    images = Tensor(Shape(localRange.count, size, size, 3))
    labels = AlignedBuffer(count: localRange.count)
    indices = .allocate(capacity: localRange.count)
  }

  deinit { indices.deallocate() }

  /// The bytes of the batch.
  package var byteCount: Int { Self.byteCount(localBatchSize: localRange.count) }

  /// Returns ``byteCount`` before anything is allocated.
  static func byteCount(localBatchSize: Int) -> Int {
    localBatchSize * (ResolutionSchedule.fullSize * ResolutionSchedule.fullSize * 3 * 4 + 1)
  }

  /// Collective: replaces the running statistics by their estimate for the present parameters.
  ///
  /// Blocks until all ranks have contributed. Bitwise reproducible for any number of ranks and threads.
  ///
  /// - Throws: `DatasetError` if a record is invalid, `CommunicationError` if a message fails.
  package func callAsFunction(_ step: TrainingStep) throws {
    let batchCount = max(1, min(Self.maximumBatchCount, split.count / batchSize))
    try step.estimateStatistics(batchCount: batchCount) { number in
      let first = number * batchSize + localRange.lowerBound
      sampler.indices(at: first..<first + localRange.count, into: indices)
      for (i, index) in indices.enumerated() {
        labels.pointer[i] = try pipeline.readTest(
          split, at: index, into: images.pointer + i * images.elementCountPerImage)
      }
      return (UnsafePointer(images.pointer), UnsafePointer(labels.pointer))
    }
  }
}
