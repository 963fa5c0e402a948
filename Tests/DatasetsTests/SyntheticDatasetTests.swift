import Datasets
import Digests
import Foundation
import Tensors
import TestSupport
import Testing

/// The synthetic datasets: pinned bytes in the real formats.
@Suite struct SyntheticDatasetTests {
  /// If one changes, so do all runs on synthetic data.
  private static let digests = [
    "data_batch_1.bin": "a240bd815a646e76cac2af36d0e8cc85d86d66f9e2108289d5bbea88ff339f2f",
    "data_batch_5.bin": "780dae7298ed36438dd55e380a23df19a6749d890f55d5aa3a7ea48e003100ac",
    "test_batch.bin": "683178e40b6daa1e7d29fcef0e95989b998dbe2f91ad3ac0f65ad4341bff50dd",
    "batches.meta.txt": "38d77de6ab6891ff4a6b6330c04e6a54b3169289acfdbdb05bb3583d9db19c29",
  ]

  @Test func bytesArePinned() throws {
    let directory = try TemporaryDirectory()
    try SyntheticDataset.write(to: directory.path + "/set")
    for (name, digest) in Self.digests {
      let data = try Data(contentsOf: directory.url.appendingPathComponent("set/\(name)"))
      #expect(SHA256.digest(of: data).hexadecimal == digest, "\(name)")
    }
    let verification = try DatasetVerification(directory: directory.path + "/set")
    #expect(verification.origin == .other)
    #expect(verification.files.map(\.records) == [2000, 2000, 2000, 2000, 2000, 2000])
    #expect(verification.classNames == SyntheticDataset.classNames())
    // Labels are random: 1,000 per class are expected, and five standard deviations are 150.
    #expect(verification.classCounts.training.allSatisfy { (850...1150).contains($0) })
    #expect(verification.classCounts.training.reduce(0, +) == 10_000)
    #expect(verification.classCounts.test.reduce(0, +) == 2000)
  }

  /// If one changes, so do all runs on the synthetic set with 100 classes.
  private static let digestsOf100Classes = [
    "train.bin": "3c8daa06d2a21570713d6dc6f26a2f9d5f8eef3e626535f1bb83126e4945e09d",
    "test.bin": "cc56ec913d8feb83cb10b4291f5fc33b5d31fa23acd798cc10dd2c1d52db2453",
    "fine_label_names.txt": "0f6148348f9b33616b84efb798586492420e34bd574fd44ccc0f42ae054544ae",
    "coarse_label_names.txt": "b643fa6f2fe345a9861fb3feed3e0cd8ebc441833175cba4242bf3b8304249d8",
  ]

  @Test func bytesOf100ClassesArePinned() throws {
    let directory = try TemporaryDirectory()
    try SyntheticDataset.write(to: directory.path + "/set", kind: .cifar100)
    for (name, digest) in Self.digestsOf100Classes {
      let data = try Data(contentsOf: directory.url.appendingPathComponent("set/\(name)"))
      #expect(SHA256.digest(of: data).hexadecimal == digest, "\(name)")
    }
    let verification = try DatasetVerification(directory: directory.path + "/set", kind: .cifar100)
    #expect(verification.origin == .other)
    #expect(verification.files.map(\.records) == [2000, 10_000])
    #expect(verification.classNames == SyntheticDataset.classNames(.cifar100))
    #expect(verification.coarseClassNames == SyntheticDataset.coarseClassNames(.cifar100))
    // 100 per fine class and 500 per coarse class are expected, and five standard deviations are 50 and 110.
    #expect(verification.classCounts.training.allSatisfy { (50...150).contains($0) })
    #expect(verification.coarseClassCounts.training.allSatisfy { (390...610).contains($0) })
  }

  @Test func theHierarchyOf100Classes() throws {
    let (fine, coarse) = (SyntheticDataset.classNames(.cifar100), SyntheticDataset.coarseClassNames(.cifar100))
    #expect(Set(fine).count == 100 && Set(coarse).count == 20)
    #expect(fine[0] == "red plain disc" && fine[9] == "violet speckled disc" && coarse[19] == "speckled half-moon")
    // A fine class is its coarse class in one of five colors.
    for label in 0..<100 { #expect(fine[label].hasSuffix(" " + coarse[label / 5])) }
    let split = SyntheticDataset.dataset(.cifar100).test
    for index in 0..<200 {
      let label = try split.withImage(at: index) { label, _ in label }
      #expect(try split.coarseLabel(at: index) == label / 5)
    }
  }

  @Test(arguments: DatasetKind.allCases)
  func filesAndEmbeddedSetAreEqual(kind: DatasetKind) throws {
    let directory = try TemporaryDirectory()
    try SyntheticDataset.write(to: directory.path + "/set", kind: kind)
    let files = try ImageDataset(directory: directory.path + "/set", kind: kind)
    let embedded = SyntheticDataset.dataset(kind)
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
    let (zero, one) = (SyntheticDataset.dataset(), SyntheticDataset.dataset(seed: 1))
    let hundred = SyntheticDataset.dataset(.cifar100)
    let pixels = AlignedBuffer<Float>(count: 3072)
    var seen = Set<[Float]>()
    for split in [zero.training, zero.test, one.training, one.test, hundred.training, hundred.test] {
      for index in 0..<100 {
        _ = try split.readRecord(at: index, pixels: pixels.pointer)
        seen.insert(Array(pixels.elements))
      }
    }
    #expect(seen.count == 600)
  }

  @Test func existingFilesAreNotOverwritten() throws {
    let directory = try TemporaryDirectory()
    try directory.write("set/mine.txt", "keep")
    let error = #expect(throws: DatasetError.self) { try SyntheticDataset.write(to: directory.path + "/set") }
    #expect(error?.kind == .cannotCreate)
    #expect(directory.read("set/mine.txt") == "keep")
    try directory.write("file", "in the way")
    #expect(throws: DatasetError.self) { try SyntheticDataset.write(to: directory.path + "/file/set") }
  }
}
