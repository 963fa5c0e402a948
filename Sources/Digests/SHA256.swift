import COpenSSL

/// A running SHA-256 digest (FIPS 180-4), computed by OpenSSL.
///
/// OpenSSL uses the CPU's SHA instructions where there are any; the digest is the same on every machine. The functions
/// allocate memory, so a training step computes no digest.
public final class SHA256 {
  private let context: OpaquePointer
  private var isFinished = false

  /// Creates the digest of no bytes.
  public init() {
    // A system's openssl.cnf can replace or disable digests. Without it, OpenSSL's built-in ones are used.
    OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_LOAD_CONFIG), nil)
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
      preconditionFailure("OpenSSL has no memory for a digest, or no SHA-256")
    }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Appends bytes.
  ///
  /// - Precondition: ``finalize()`` has not been called.
  public func update(_ bytes: UnsafeRawBufferPointer) {
    precondition(!isFinished, "a finished digest takes no more bytes")
    guard let start = bytes.baseAddress else { return }
    // Not a precondition, which -Ounchecked removes together with the call.
    guard EVP_DigestUpdate(context, start, bytes.count) == 1 else {
      preconditionFailure("OpenSSL cannot append to a SHA-256")
    }
  }

  /// Returns the digest of everything appended: 32 bytes.
  ///
  /// - Precondition: It has not been called before.
  public func finalize() -> [UInt8] {
    precondition(!isFinished, "a digest is finished once")
    isFinished = true
    var digest = [UInt8](repeating: 0, count: 32)
    guard EVP_DigestFinal_ex(context, &digest, nil) == 1 else {
      preconditionFailure("OpenSSL cannot finish a SHA-256")
    }
    return digest
  }

  /// Returns the digest of a sequence of bytes: 32 bytes.
  public static func digest(of bytes: some Sequence<UInt8>) -> [UInt8] {
    let hash = SHA256()
    Array(bytes).withUnsafeBytes { hash.update($0) }
    return hash.finalize()
  }
}

extension Sequence<UInt8> {
  /// The bytes as lowercase hexadecimal digits, two per byte.
  public var hexadecimal: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
