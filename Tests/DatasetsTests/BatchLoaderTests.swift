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
    let split = SyntheticCIFAR10.dataset().test
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
    for _ in 0..<50 { try loader(SyntheticCIFAR10.dataset().test, 0..<12, firstStep: 1).stop() }
  }
}
