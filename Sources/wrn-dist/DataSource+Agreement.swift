import Collectives
import DataParallel
import Datasets
import Tensors

extension DataSource {
  /// Refuses ranks that see different images: a host without the real set would take the synthetic one.
  ///
  /// Compares sizes, class names and a few images, not all. Every rank calls it.
  ///
  /// - Throws: `LayoutDigest.Mismatch` on every rank if two differ, `AgreedFailure` if one meets a bad record,
  ///   `CommunicationError` if the exchange fails.
  func requireEqual(on communicator: any Communicator) throws {
    let digest = try Ranks.together(communicator) {
      var digest = LayoutDigest()
      for name in dataset.classNames { digest.combine(name) }
      let pixels = AlignedBuffer<Float>(count: CIFAR10.recordByteCount - 1)
      for split in [dataset.training, dataset.test] {
        digest.combine(UInt64(split.count))
        for index in [0, split.count / 2, split.count - 1] {
          digest.combine(UInt64(try split.readRecord(at: index, pixels: pixels.pointer)))
          digest.combine(UnsafeRawBufferPointer(pixels.bytes))
        }
      }
      return digest
    }
    try digest.requireEqual("the training or test set", on: communicator)
  }
}
