import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// CIFAR-100's official binary layout, and the errors for files that deviate from it.
@Suite struct CIFAR100Tests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Returns a record whose bytes depend on their position.
  private func record(_ number: Int, coarse: UInt8, fine: UInt8) -> [UInt8] {
    [coarse, fine] + (0..<3072).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 1024 + number * 31) }
  }

  private func write(_ name: String, _ bytes: [UInt8]) throws {
    let file = directory.url.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: file)
  }

  /// Writes four training records and one test record.
  private func writeSet(_ subdirectory: String = ".") throws {
    try write(
      "\(subdirectory)/train.bin", (0..<4).flatMap { record($0, coarse: UInt8(19 - $0), fine: UInt8(99 - 7 * $0)) })
    try write("\(subdirectory)/test.bin", record(9, coarse: 0, fine: 0))
  }

  private func expectError(
    _ words: String, kind: DatasetKind = .cifar100, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: DatasetError.self, sourceLocation: sourceLocation) {
      let set = try ImageDataset(directory: directory.path, kind: kind)
      for index in 0..<set.training.count { try set.training.withImage(at: index) { _, _ in } }
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")", sourceLocation: sourceLocation)
  }

  @Test(arguments: [".", "cifar-100-binary"])
  func everyByteOfEveryRecord(subdirectory: String) throws {
    try writeSet(subdirectory)
    let set = try ImageDataset(directory: directory.path, kind: .cifar100)
    #expect(set.kind == .cifar100 && set.training.count == 4 && set.test.count == 1)
    #expect(set.classNames == DatasetKind.cifar100.officialClassNames)
    #expect(set.coarseClassNames == DatasetKind.cifar100.officialCoarseClassNames)
    let pixels = AlignedBuffer<Float>(count: 3072)
    for index in [3, 0, 2, 1] {
      #expect(try set.training.readRecord(at: index, pixels: pixels.pointer) == UInt8(99 - 7 * index))
      #expect(try set.training.coarseLabel(at: index) == UInt8(19 - index))
      let bytes = record(index, coarse: 0, fine: 0)
      for y in 0..<32 {
        for x in 0..<32 {
          for c in 0..<3 {
            #expect(pixels.elements[(y * 32 + x) * 3 + c] == Float(bytes[2 + c * 1024 + y * 32 + x]))
          }
        }
      }
    }
    let validation = set.training.holdingOut(1).validation
    #expect(try validation.coarseLabel(at: 0) == 16)
    #expect(try SyntheticDataset.dataset().training.coarseLabel(at: 0) == nil)
  }

  @Test func officialNames() {
    let (fine, coarse) = (DatasetKind.cifar100.officialClassNames, DatasetKind.cifar100.officialCoarseClassNames)
    // Both lists are in alphabetical order.
    #expect(fine.count == 100 && Set(fine).count == 100 && fine == fine.sorted())
    #expect(coarse.count == 20 && Set(coarse).count == 20 && coarse == coarse.sorted())
  }

  @Test func namesOfClasses() throws {
    try writeSet()
    let names = (0..<100).map { "class \($0)" }
    try write("fine_label_names.txt", Array((names.joined(separator: "\n") + "\n\n").utf8))
    try write("coarse_label_names.txt", Array((0..<20).map { "group \($0)" }.joined(separator: "\n").utf8))
    let set = try ImageDataset(directory: directory.path, kind: .cifar100)
    #expect(set.classNames == names)
    #expect(set.coarseClassNames[19] == "group 19")
    try write("coarse_label_names.txt", Array("a\n".utf8))
    expectError("coarse_label_names.txt names 1 classes instead of 20")
    try write("fine_label_names.txt", Array("a\nb\n".utf8))
    expectError("fine_label_names.txt names 2 classes instead of 100")
  }

  @Test func invalidFiles() throws {
    expectError("has no train.bin; pass --data a directory in CIFAR-100's binary layout")
    try writeSet()
    try FileManager.default.removeItem(atPath: directory.path + "/test.bin")
    expectError("test.bin cannot be read")
    try writeSet()
    try write("train.bin", [UInt8](repeating: 0, count: 3075))
    expectError(
      "train.bin has 3075 bytes, which is not a multiple of 3074: 1 records and 1 bytes more; it is truncated")
    try write("train.bin", record(0, coarse: 0, fine: 0) + record(1, coarse: 0, fine: 100))
    expectError("train.bin: record 1 has label 100, above 99; the file is damaged or not a CIFAR-100 file")
    try write("train.bin", record(0, coarse: 20, fine: 99))
    expectError("train.bin: record 0 has coarse label 20, above 19")
  }

  /// Files of one dataset under the name of the other: the error says which it looks like.
  @Test func theOtherDatasetIsRecognized() throws {
    try writeSet()
    expectError("has no data_batch_*.bin and looks like CIFAR-100; pass --dataset cifar100", kind: .cifar10)
    try write("data_batch_1.bin", record(0, coarse: 0, fine: 0))
    expectError(
      "data_batch_1.bin has 3074 bytes, which is not a multiple of 3073: 1 records and 1 bytes more; "
        + "it looks like CIFAR-100: pass --dataset cifar100", kind: .cifar10)
    try write("train.bin", [UInt8](repeating: 0, count: 2 * 3073))
    expectError("it looks like CIFAR-10: pass --dataset cifar10")
    for name in ["train.bin", "test.bin"] { try FileManager.default.removeItem(atPath: directory.path + "/" + name) }
    expectError("has no train.bin and looks like CIFAR-10; pass --dataset cifar10")
    try FileManager.default.removeItem(atPath: directory.path + "/data_batch_1.bin")
    try write("cifar-10-batches-bin/data_batch_1.bin", [UInt8](repeating: 0, count: 3073))
    expectError("looks like CIFAR-10; pass --dataset cifar10")
  }

  @Test func sourcesAreSearchedInDocumentedOrder() throws {
    try writeSet()
    let named = try DataSource(
      "auto", kind: .cifar100, environment: ["CIFAR100_DIR": directory.path, "CIFAR10_DIR": "/gone"])
    #expect(named.description == "data: \(directory.path) ($CIFAR100_DIR), 4 training and 1 test images")
    let synthetic = try DataSource("auto", kind: .cifar100, environment: ["CIFAR10_DIR": directory.path])
    #expect(synthetic.dataset.kind == .cifar100 && synthetic.dataset.training.count == 10_000)
    #expect(
      synthetic.description.contains(
        "no $CIFAR100_DIR and no data/cifar-100-binary; launch/fetch-cifar10 --dataset cifar100 gets the real set"))
    try write("train.bin", record(0, coarse: 0, fine: 0) + record(1, coarse: 0, fine: 200))
    #expect(throws: DatasetError.self) { try DataSource(directory.path, kind: .cifar100) }
  }

  @Test func verification() throws {
    try writeSet()
    let verification = try DatasetVerification(directory: directory.path, kind: .cifar100)
    #expect(verification.origin == .other)
    #expect(verification.files.map(\.records) == [1, 4])
    let counts = verification.classCounts.training
    #expect(counts.indices.filter { counts[$0] > 0 } == [78, 85, 92, 99])
    #expect(verification.coarseClassCounts.training == [Int](repeating: 0, count: 16) + [1, 1, 1, 1])
    #expect(verification.coarseClassCounts.test == [1] + [Int](repeating: 0, count: 19))
    let text = verification.description
    #expect(text.contains("\nworm                            1 training, 0 test\n"))
    #expect(text.contains("\nvehicles_2                      1 training, 0 test\n"))
    #expect(text.hasSuffix("\nthis is not the real CIFAR-100\nno defect found"))
  }

  /// With the official sizes, class counts decide: there are no published digests.
  @Test func officialSizesAndCounts() throws {
    func records(_ count: Int, _ fine: (Int) -> Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count * 3074)
      for i in 0..<count { bytes[3074 * i + 1] = UInt8(fine(i)) }
      return bytes
    }
    try write("train.bin", records(50_000) { $0 % 100 })
    try write("test.bin", records(10_000) { $0 % 100 })
    #expect(try DatasetVerification(directory: directory.path, kind: .cifar100).origin == .plausible)
    try write("test.bin", records(10_000) { $0 % 99 })
    #expect(try DatasetVerification(directory: directory.path, kind: .cifar100).origin == .modified)
  }
}
