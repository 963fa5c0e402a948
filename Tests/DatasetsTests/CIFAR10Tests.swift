import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// The official binary layout, and the errors for files that deviate from it.
@Suite struct CIFAR10Tests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Returns a record whose bytes depend on their position.
  private func record(_ number: Int, label: UInt8) -> [UInt8] {
    [label] + (0..<3072).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 1024 + number * 31) }
  }

  private func write(_ name: String, _ bytes: [UInt8]) throws {
    let file = directory.url.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
  }

  /// Writes two training files of 2 and 3 records, and one test record.
  private func writeSet() throws {
    try write("data_batch_10.bin", (2..<5).flatMap { record($0, label: UInt8($0)) })
    try write("data_batch_9.bin", (0..<2).flatMap { record($0, label: UInt8($0)) })
    try write("test_batch.bin", record(9, label: 9))
  }

  private func expectError(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) {
    let error = #expect(throws: DatasetError.self, sourceLocation: sourceLocation) {
      try ImageDataset(directory: directory.path)
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")", sourceLocation: sourceLocation)
  }

  @Test func everyByteOfEveryRecord() throws {
    try writeSet()
    let set = try ImageDataset(directory: directory.path)
    #expect(set.training.count == 5 && set.test.count == 1)
    #expect(set.classNames == DatasetKind.cifar10.officialClassNames)
    let pixels = AlignedBuffer<Float>(count: 3072)
    for index in [4, 0, 2, 1, 3] {
      // File 9 comes before file 10: the order is numeric.
      #expect(try set.training.readRecord(at: index, pixels: pixels.pointer) == UInt8(index))
      let bytes = record(index, label: 0)
      for y in 0..<32 {
        for x in 0..<32 {
          for c in 0..<3 {
            #expect(pixels.elements[(y * 32 + x) * 3 + c] == Float(bytes[1 + c * 1024 + y * 32 + x]))
          }
        }
      }
    }
  }

  @Test func theLastTrainingImagesCanBeHeldOut() throws {
    try writeSet()
    let training = try ImageDataset(directory: directory.path).training
    let (rest, validation) = training.holdingOut(2)
    #expect(rest.count == 3 && validation.count == 2)
    let (all, a) = (AlignedBuffer<Float>(count: 3072), AlignedBuffer<Float>(count: 3072))
    for index in 0..<5 {
      let label = try training.readRecord(at: index, pixels: all.pointer)
      let part = index < 3 ? rest : validation
      #expect(try part.readRecord(at: index < 3 ? index : index - 3, pixels: a.pointer) == label)
      #expect(a.elements.elementsEqual(all.elements))
    }
    // A part can be divided again.
    #expect(try rest.holdingOut(1).validation.readRecord(at: 0, pixels: a.pointer) == 2)
    #expect(training.holdingOut(0).validation.count == 0)
  }

  @Test func anInnerDirectoryIsFound() throws {
    try write("cifar-10-batches-bin/data_batch_1.bin", record(0, label: 3))
    try write("cifar-10-batches-bin/test_batch.bin", record(0, label: 3))
    #expect(try ImageDataset(directory: directory.path).training.count == 1)
  }

  @Test func missingFilesAreNamed() throws {
    #expect(throws: DatasetError.self) { try ImageDataset(directory: directory.path + "/gone") }
    expectError("has no data_batch_*.bin")
    try write("data_batch_1.bin", record(0, label: 0))
    expectError("test_batch.bin cannot be read")
  }

  @Test func invalidFileSizes() throws {
    try writeSet()
    try write("data_batch_9.bin", [])
    expectError("data_batch_9.bin is empty")
    try write("data_batch_9.bin", [UInt8](repeating: 0, count: 3074))
    expectError("data_batch_9.bin has 3074 bytes, which is not a multiple of 3073: 1 records and 1 bytes more")
  }

  @Test func labelsAboveNine() throws {
    try writeSet()
    try write("data_batch_9.bin", record(0, label: 1) + record(1, label: 10))
    let set = try ImageDataset(directory: directory.path)
    let pixels = AlignedBuffer<Float>(count: 3072)
    #expect(try set.training.readRecord(at: 0, pixels: pixels.pointer) == 1)
    let error = #expect(throws: DatasetError.self) { try set.training.readRecord(at: 1, pixels: pixels.pointer) }
    #expect(error?.description.contains("data_batch_9.bin: record 1 has label 10, above 9") == true)
  }

  @Test func classNames() throws {
    try writeSet()
    try write("batches.meta.txt", Array("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n".utf8))
    #expect(try ImageDataset(directory: directory.path).classNames == "abcdefghij".map(String.init))
    try write("batches.meta.txt", Array("a\nb\n".utf8))
    expectError("batches.meta.txt names 2 classes instead of 10")
  }

  @Test func fingerprintsDistinguishDatasets() throws {
    try writeSet()
    let first = try ImageDataset(directory: directory.path).fingerprint()
    #expect(try ImageDataset(directory: directory.path).fingerprint() == first && first.count == 16)
    try write("test_batch.bin", record(9, label: 8))
    #expect(try ImageDataset(directory: directory.path).fingerprint() != first)
  }

  @Test func sourcesAreSearchedInDocumentedOrder() throws {
    try writeSet()
    let named = try DataSource("auto", environment: ["CIFAR10_DIR": directory.path])
    #expect(named.description == "data: \(directory.path) ($CIFAR10_DIR), 5 training and 1 test images")
    let chosen = try DataSource(directory.path, environment: ["CIFAR10_DIR": "/gone"])
    #expect(chosen.dataset.training.count == 5)
    let synthetic = try DataSource("synthetic", environment: ["CIFAR10_DIR": directory.path])
    #expect(synthetic.dataset.training.count == 10_000)
    #expect(throws: DatasetError.self) { try DataSource("auto", environment: ["CIFAR10_DIR": "/gone"]) }
  }
}
