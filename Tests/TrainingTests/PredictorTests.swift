import Collectives
import Datasets
import Foundation
import Models
import Tensors
import Testing
import Training

/// Predictions of single images: bitwise those of evaluations, and ranked by probability.
@Suite struct PredictorTests {
  private static var engines: [any ConvolutionEngine] {
    InstructionSet.allCases.filter(\.isSupported).map { NativeConvolutionEngine($0) }
  }

  @Test func logitsAreBitwiseThoseOfAnEvaluation() throws {
    let model = ModelState(
      try WideResNetConfiguration(architecture: .wrn, depth: 10, widenFactor: 2, block: [3, 1, 3]).graph())
    model.graph.initialize(model.parameters, model.runningStatistics, seed: 7)
    let split = SyntheticDataset.dataset().test
    var configuration = TrainingConfiguration()
    configuration.batchSize = 24
    configuration.microbatches = 4
    configuration.evalBatches = .all
    configuration.evalStatistics = .running
    let pool = try WorkerPool(workerCount: 2)
    let pipeline = ImagePipeline(normalization: .cifar10)
    for engine in Self.engines {
      let evaluation = Evaluation(
        model, split: split, pipeline: pipeline, configuration: configuration, engine: engine, pool: pool,
        communicator: SingleProcessCommunicator())
      let expected = AlignedBuffer<Float>(count: 10 * evaluation.exampleCount)
      _ = try evaluation(index: 0, logits: expected.pointer)
      let predictor = Predictor(model, pipeline: pipeline, engine: engine, pool: pool, batchSize: 16)
      let pixels = AlignedBuffer<Float>(count: 3072)
      // Full, short and single-image calls, after one another.
      for images in [0..<16, 16..<23, 23..<24, 24..<40] {
        for (i, image) in images.enumerated() {
          _ = try split.readRecord(at: image, pixels: pixels.pointer)
          for p in 0..<1024 {
            for c in 0..<3 { predictor.planes.pointer[3072 * i + 1024 * c + p] = UInt8(pixels.elements[3 * p + c]) }
          }
        }
        let logits = try predictor.logits(count: images.count)
        for i in 0..<10 * images.count {
          #expect(logits[i] == expected.elements[10 * images.lowerBound + i], "logit \(i) of \(images)")
        }
      }
    }
  }

  @Test func classesAreRankedByProbability() throws {
    let ranked = try #require(RankedClasses([1, 3, -2, 3, 0.5] as [Float]))
    #expect(ranked.order == [1, 3, 0, 4, 2], "the lower of two equal classes comes first")
    let exponentials = [1, 3, -2, 3, 0.5].map { exp($0) }
    for (i, value) in exponentials.enumerated() {
      #expect(abs(ranked.probabilities[i] - value / exponentials.reduce(0, +)) < 1e-14)
    }
    // Logits that overflow an exponential in fp32 and in Double.
    let large = try #require(RankedClasses([2000, 1999] as [Float]))
    #expect(abs(large.probabilities[0] - 1 / (1 + exp(-1))) < 1e-14)
    for value in [Float.nan, .infinity, -.infinity] { #expect(RankedClasses([0, value]) == nil) }
    #expect(RankedClasses([] as [Float]) == nil)
  }
}
