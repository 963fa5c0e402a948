import Crypto
import Tensors

extension CIFAR10 {
  /// Returns 16 hexadecimal digits that tell data sets apart: of class names, sizes and a few images of each split.
  ///
  /// It is made to notice a mistake, the synthetic set in place of the real one, and reads six records for it, not all.
  ///
  /// - Throws: ``DatasetError`` if one of them has a label above 9.
  public func fingerprint() throws -> String {
    var hash = SHA256()
    func add(_ number: Int) { withUnsafeBytes(of: Int64(number).littleEndian) { hash.update(bufferPointer: $0) } }
    for name in classNames { Array(name.utf8 + [0]).withUnsafeBytes { hash.update(bufferPointer: $0) } }
    let pixels = AlignedBuffer<Float>(count: Self.recordByteCount - 1)
    for split in [training, test] {
      add(split.count)
      for index in [0, split.count / 2, split.count - 1] {
        add(Int(try split.readRecord(at: index, pixels: pixels.pointer)))
        for value in pixels.elements { add(Int(value)) }
      }
    }
    return hash.finalize().prefix(8).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }
}
