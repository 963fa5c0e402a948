import Crypto
import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// The synthetic set: the same bytes on every machine, in the real format.
@Suite struct SyntheticCIFAR10Tests {
  /// If one of these changes, so do all runs on synthetic data.
  private static let sums = [
    "data_batch_1.bin": "c39422454497162cce1304d3c1c393b4808ac20c79c04f09fda6bb57b6fb8e19",
    "data_batch_5.bin": "0bac8c253a2ac5b9713bcd290e3ea5c71976fb8b6563444a730d167d873db51f",
    "test_batch.bin": "4bfaccf79584eea73d25270d18bcf66a4f6ec517c94dcee40f9fd29a42c50e9c",
    "batches.meta.txt": "38d77de6ab6891ff4a6b6330c04e6a54b3169289acfdbdb05bb3583d9db19c29",
  ]

  @Test func bytesArePinned() throws {
    let folder = try TemporaryFolder()
    try SyntheticCIFAR10.write(to: folder.path + "/set")
    for (name, sum) in Self.sums {
      let data = try Data(contentsOf: folder.url.appendingPathComponent("set/\(name)"))
      #expect(SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined() == sum, "\(name)")
    }
    let verification = try DatasetVerification(directory: folder.path + "/set")
    #expect(verification.origin == .other)
    #expect(verification.files.map(\.records) == [2000, 2000, 2000, 2000, 2000, 2000])
    #expect(verification.classNames == SyntheticCIFAR10.classNames)
    // Labels are drawn, 1,000 of each class expected; five standard deviations are 150.
    #expect(verification.classCounts.training.allSatisfy { (850...1150).contains($0) })
    #expect(verification.classCounts.training.reduce(0, +) == 10_000)
    #expect(verification.classCounts.test.reduce(0, +) == 2000)
  }

  @Test func filesAndEmbeddedSetAreEqual() throws {
    let folder = try TemporaryFolder()
    try SyntheticCIFAR10.write(to: folder.path + "/set")
    let (files, embedded) = (try CIFAR10(directory: folder.path + "/set"), SyntheticCIFAR10.dataset())
    #expect(try files.fingerprint() == embedded.fingerprint())
    let (a, b) = (AlignedBuffer<Float>(count: 3072), AlignedBuffer<Float>(count: 3072))
    for (x, y) in [(files.training, embedded.training), (files.test, embedded.test)] {
      #expect(x.count == y.count)
      for index in stride(from: 0, to: x.count, by: 37) {
        #expect(
          try x.readRecord(at: index, pixels: a.pointer) == y.readRecord(at: index, pixels: b.pointer))
        #expect(a.elements.elementsEqual(b.elements), "image \(index)")
      }
    }
  }

  @Test func otherSeedsAndSplitsAreOtherImages() throws {
    let (zero, one) = (SyntheticCIFAR10.dataset(), SyntheticCIFAR10.dataset(seed: 1))
    let pixels = AlignedBuffer<Float>(count: 3072)
    var seen = Set<[Float]>()
    for split in [zero.training, zero.test, one.training, one.test] {
      for index in 0..<100 {
        _ = try split.readRecord(at: index, pixels: pixels.pointer)
        seen.insert(Array(pixels.elements))
      }
    }
    #expect(seen.count == 400)
  }

  @Test func whatIsThereIsNotOverwritten() throws {
    let folder = try TemporaryFolder()
    try folder.write("set/mine.txt", "keep")
    let error = #expect(throws: DatasetError.self) { try SyntheticCIFAR10.write(to: folder.path + "/set") }
    #expect(error?.kind == .cannotCreate)
    #expect(folder.read("set/mine.txt") == "keep")
    try folder.write("file", "in the way")
    #expect(throws: DatasetError.self) { try SyntheticCIFAR10.write(to: folder.path + "/file/set") }
  }
}
