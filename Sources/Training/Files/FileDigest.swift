import Crypto
import Foundation

/// A file's length and SHA-256.
struct FileDigest: Codable, Hashable, Sendable {
  /// The length.
  let bytes: Int
  /// SHA-256 in lower-case hexadecimal.
  let sha256: String

  /// Reads a file.
  ///
  /// - Returns: nil if it cannot be read.
  static func of(_ path: String) -> FileDigest? {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
      return nil
    }
    var hash = FileHash()
    data.withUnsafeBytes { hash.update($0) }
    return hash.finish()
  }
}

/// A running SHA-256 that counts bytes.
struct FileHash {
  private var hash = SHA256()
  private var count = 0

  /// Takes in bytes.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    hash.update(bufferPointer: bytes)
    count += bytes.count
  }

  /// Takes in a text.
  mutating func update(_ text: String) { Array(text.utf8).withUnsafeBytes { update($0) } }

  /// The digest of everything taken in.
  func finish() -> FileDigest {
    let hex = hash.finalize().map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined()
    return FileDigest(bytes: count, sha256: hex)
  }
}
