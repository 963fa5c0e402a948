import Collectives
import Datasets
import Models
import Tensors

/// Classifies images in batches; the logits of an image do not depend on the other images of its batch.
///
/// Batch norms use running statistics, and each image is a microbatch: with every engine an image's result is bitwise that
/// of the image alone. With the `native` engine it is also bitwise that of an ``Evaluation`` with running statistics and
/// without mirror images. All memory is allocated by the initializer.
public final class Predictor {
  /// The most images per call.
  public let batchSize: Int
  /// The images of the next call, raw values `[batchSize, 3, 32, 32]`, which the caller writes.
  public let planes: AlignedBuffer<UInt8>
  /// The classes of the model.
  public let classCount: Int

  private let graph: ModelGraph
  private let pipeline: ImagePipeline
  private let pool: WorkerPool
  private let executor: ModelExecutor
  private let images: Tensor
  private let labels: AlignedBuffer<UInt8>

  /// The bytes of a raw image.
  public static let byteCountPerImage = 3 * ImageDataset.imageSize * ImageDataset.imageSize

  /// Allocates the memory of predictions.
  ///
  /// - Parameters:
  ///   - model: Parameters and running statistics, for images of 32×32 pixels.
  ///   - pipeline: The preparation of the images.
  ///   - engine: The convolution engine.
  ///   - pool: The threads.
  ///   - batchSize: The most images per call.
  public init(
    _ model: ModelState, pipeline: ImagePipeline, engine: any ConvolutionEngine, pool: WorkerPool, batchSize: Int = 64
  ) {
    precondition(model.graph.imageSize == ImageDataset.imageSize, "raw images have 32×32 pixels")
    self.batchSize = batchSize
    self.pipeline = pipeline
    self.pool = pool
    graph = model.graph
    classCount = graph.classCount
    planes = AlignedBuffer(count: batchSize * Self.byteCountPerImage)
    images = Tensor(Shape(batchSize, graph.imageSize, graph.imageSize, graph.imageChannels))
    labels = AlignedBuffer(count: batchSize)
    executor = ModelExecutor(
      graph, engine: engine, pool: pool, parameters: model.parameters, runningStatistics: model.runningStatistics,
      imagesPerMicrobatch: 1, microbatches: 0..<batchSize, tree: ReductionTree(leafCount: batchSize),
      scope: .global, purpose: .inference)
  }

  /// Computes the logits of the first images in ``planes``.
  ///
  /// - Parameter count: The number of images, 1 … ``batchSize``.
  /// - Returns: The logits, `[count, classes]`, valid until the next call.
  /// - Throws: Nothing in practice; the passes may throw `CommunicationError`, but there is one process.
  public func logits(count: Int) throws -> UnsafePointer<Float> {
    precondition((1...batchSize).contains(count), "a call has 1 to \(batchSize) images")
    pool.parallelFor(count, with: self) { predictor, i, _ in
      predictor.pointee.pipeline.prepareTest(
        .planes(UnsafePointer(predictor.pointee.planes.pointer + i * Self.byteCountPerImage)),
        into: predictor.pointee.images.pointer + i * predictor.pointee.images.elementCountPerImage)
    }
    let batch = LocalBatch(
      graph, globalImageCount: count, imagesPerMicrobatch: 1, localRange: 0..<count,
      tree: ReductionTree(leafCount: count), communicator: SingleProcessCommunicator())
    try executor.forward(images.pointer, labels: labels.pointer, batch: batch, statistics: .running)
    // Ends the pass; images to predict have no labels, so the loss has no meaning.
    _ = try executor.finishLoss(batch)
    return executor.logits
  }
}

/// The classes of an image by probability.
public struct RankedClasses: Sendable, Hashable {
  /// The probability of every class, the softmax of the logits; sums to 1.
  public let probabilities: [Double]
  /// The classes by falling probability; of equal logits the lower class first.
  public let order: [Int]

  /// Ranks classes by their logits; `nil` if a logit is not finite.
  public init?(_ logits: some Collection<Float>) {
    guard let maximum = logits.max(), logits.allSatisfy(\.isFinite) else { return nil }
    let exponentials = logits.map { ReproducibleMath.exp(Double($0) - Double(maximum)) }
    let sum = exponentials.reduce(0, +)
    probabilities = exponentials.map { $0 / sum }
    let values = Array(logits)
    order = values.indices.sorted { (values[$1], $0) < (values[$0], $1) }
  }
}
