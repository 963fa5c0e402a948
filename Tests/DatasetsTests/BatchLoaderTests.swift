import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// Batches read ahead: their content, errors, and the end of the thread.
@Suite struct BatchLoaderTests {
  private func loader(
    _ split: ImageDataset.Split, _ range: Range<Int>, firstStep: Int, mode: ShuffleMode = .epoch
  ) throws -> BatchLoader {
    try BatchLoader(
      split: split, sampler: Sampler(mode: mode, count: split.count, seed: 1),
      localRange: range, firstStep: firstStep, firstPosition: { ($0 - 1) * 12 })
  }

  @Test(arguments: [0..<12, 0..<5, 5..<12, 11..<12])
  func everyStepGetsItsImages(range: Range<Int>) throws {
    let split = SyntheticDataset.dataset().test
    let loader = try loader(split, range, firstStep: 4)
    let order = Sampler(mode: .epoch, count: split.count, seed: 1)
    let indices = UnsafeMutableBufferPointer<Int>.allocate(capacity: range.count)
    defer { indices.deallocate() }
    let pixels = AlignedBuffer<Float>(count: 3072)
    for step in 4..<40 {
      let batch = try loader.next()
      #expect(batch.step == step)
      let first = (step - 1) * 12
      order.indices(at: first + range.lowerBound..<first + range.upperBound, into: indices)
      for (i, index) in indices.enumerated() {
        #expect(try batch.labels.elements[i] == split.readRecord(at: index, pixels: pixels.pointer))
        #expect(batch.images.elements[i * 3072..<(i + 1) * 3072].elementsEqual(pixels.elements))
      }
    }
    loader.stop()
  }

  /// The images of a step: in their order, each with the random changes of its own epoch and index.
  private func expectedImages(
    _ split: ImageDataset.Split, _ pipeline: ImagePipeline, positions: Range<Int>, size: Int
  ) throws -> [Float] {
    let order = Sampler(mode: .epoch, count: split.count, seed: 1)
    let index = UnsafeMutableBufferPointer<Int>.allocate(capacity: 1)
    defer { index.deallocate() }
    let pixels = AlignedBuffer<Float>(count: size * size * 3)
    return try positions.flatMap { position in
      order.indices(at: position..<position + 1, into: index)
      _ = try pipeline.readTraining(
        split, at: index[0], epoch: position / split.count, size: size, into: pixels.pointer)
      return Array(pixels.elements)
    }
  }

  /// Ranks, the ring and restarts do not matter, also where a batch crosses the end of an epoch.
  @Test(arguments: [(0..<12, 1, 2), (0..<5, 1, 3), (5..<12, 1, 3), (5..<12, 3, 4), (11..<12, 2, 7)])
  func imagesAreAugmentedByEpochAndIndex(range: Range<Int>, firstStep: Int, ringSize: Int) throws {
    let split = SyntheticDataset.dataset().test.holdingOut(1963).training
    #expect(split.count == 37)
    let augmentation = Augmentation(cropPadding: 4, flip: .alternating, cutout: 6)
    let pipeline = ImagePipeline(normalization: .cifar10, augmentation: augmentation, seed: 8)
    let loader = try BatchLoader(
      split: split, sampler: Sampler(mode: .epoch, count: 37, seed: 1), pipeline: pipeline, localRange: range,
      firstStep: firstStep, ringSize: ringSize, maximumImageSize: 28, imageSize: { $0 < 4 ? 20 : 28 },
      firstPosition: { ($0 - 1) * 12 })
    for step in firstStep..<12 {
      let batch = try loader.next()
      let size = step < 4 ? 20 : 28
      #expect(batch.imageSize == size)
      let first = (step - 1) * 12
      let expected = try expectedImages(
        split, pipeline, positions: first + range.lowerBound..<first + range.upperBound, size: size)
      #expect(batch.images.elements.prefix(expected.count).elementsEqual(expected), "step \(step)")
    }
    loader.stop()
  }

  @Test func aBadRecordIsReportedAtItsStep() throws {
    let directory = try TemporaryDirectory()
    var bytes = [UInt8](repeating: 1, count: 3073 * 40)
    bytes[3073 * 30] = 99
    for name in ["data_batch_1.bin", "test_batch.bin"] {
      try Data(bytes).write(to: directory.url.appendingPathComponent(name))
    }
    let loader = try loader(try ImageDataset(directory: directory.path).training, 0..<12, firstStep: 1, mode: .none)
    for _ in 1...2 { _ = try loader.next() }
    let error = #expect(throws: DatasetError.self) { try loader.next() }
    #expect(error?.description.contains("record 30 has label 99") == true)
    #expect(throws: DatasetError.self) { try loader.next() }
    loader.stop()
  }

  @Test func itStopsAtAnyTime() throws {
    for _ in 0..<50 { try loader(SyntheticDataset.dataset().test, 0..<12, firstStep: 1).stop() }
  }
}
