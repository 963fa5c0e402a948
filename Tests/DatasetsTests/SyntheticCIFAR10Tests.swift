import Crypto
import Datasets
import Foundation
import Tensors
import TestSupport
import Testing

/// The synthetic dataset: pinned bytes in the real format.
@Suite struct SyntheticCIFAR10Tests {
  /// If one changes, so do all runs on synthetic data.
  private static let digests = [
    "data_batch_1.bin": "a240bd815a646e76cac2af36d0e8cc85d86d66f9e2108289d5bbea88ff339f2f",
    "data_batch_5.bin": "780dae7298ed36438dd55e380a23df19a6749d890f55d5aa3a7ea48e003100ac",
    "test_batch.bin": "683178e40b6daa1e7d29fcef0e95989b998dbe2f91ad3ac0f65ad4341bff50dd",
    "batches.meta.txt": "38d77de6ab6891ff4a6b6330c04e6a54b3169289acfdbdb05bb3583d9db19c29",
  ]

  @Test func bytesArePinned() throws {
    let directory = try TemporaryDirectory()
    try SyntheticCIFAR10.write(to: directory.path + "/set")
    for (name, digest) in Self.digests {
      let data = try Data(contentsOf: directory.url.appendingPathComponent("set/\(name)"))
      #expect(SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined() == digest, "\(name)")
    }
    let verification = try DatasetVerification(directory: directory.path + "/set")
    #expect(verification.origin == .other)
    #expect(verification.files.map(\.records) == [2000, 2000, 2000, 2000, 2000, 2000])
    #expect(verification.classNames == SyntheticCIFAR10.classNames)
    // Labels are random: 1,000 per class are expected, and five standard deviations are 150.
    #expect(verification.classCounts.training.allSatisfy { (850...1150).contains($0) })
    #expect(verification.classCounts.training.reduce(0, +) == 10_000)
    #expect(verification.classCounts.test.reduce(0, +) == 2000)
  }

  @Test func filesAndEmbeddedSetAreEqual() throws {
    let directory = try TemporaryDirectory()
    try SyntheticCIFAR10.write(to: directory.path + "/set")
    let (files, embedded) = (try ImageDataset(directory: directory.path + "/set"), SyntheticCIFAR10.dataset())
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

  @Test func imagesDependOnSeedAndSplit() throws {
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

  @Test func existingFilesAreNotOverwritten() throws {
    let directory = try TemporaryDirectory()
    try directory.write("set/mine.txt", "keep")
    let error = #expect(throws: DatasetError.self) { try SyntheticCIFAR10.write(to: directory.path + "/set") }
    #expect(error?.kind == .cannotCreate)
    #expect(directory.read("set/mine.txt") == "keep")
    try directory.write("file", "in the way")
    #expect(throws: DatasetError.self) { try SyntheticCIFAR10.write(to: directory.path + "/file/set") }
  }
}
