/// An IPv4 address.
public struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
  /// The four bytes, the first one highest.
  public let bits: UInt32

  /// Makes an address of its bits.
  public init(bits: UInt32) { self.bits = bits }

  /// Reads `10.0.0.7`; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bits: UInt32 = 0
    for part in parts {
      guard part.allSatisfy(\.isNumber), let byte = UInt8(part) else { return nil }
      bits = bits << 8 | UInt32(byte)
    }
    self.bits = bits
  }

  /// The address as `10.0.0.7`.
  public var description: String {
    [24, 16, 8, 0].map { String(bits >> UInt32($0) & 0xff) }.joined(separator: ".")
  }
}

/// A range of IPv4 addresses, `10.0.0.0/16`.
public struct NetworkRange: Hashable, Sendable, CustomStringConvertible {
  /// The first address.
  public let base: NetworkAddress
  /// The leading bits that all addresses share, 0 … 32.
  public let prefixLength: Int

  /// Makes the range around an address.
  ///
  /// - Precondition: `prefixLength` lies in 0 … 32.
  public init(around address: NetworkAddress, prefixLength: Int) {
    precondition((0...32).contains(prefixLength), "an IPv4 prefix has 0 to 32 bits")
    self.prefixLength = prefixLength
    base = NetworkAddress(bits: address.bits & Self.mask(prefixLength))
  }

  /// Reads `10.0.0.0/16`; nil for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let address = NetworkAddress(parts[0]), let length = Int(parts[1]),
      (0...32).contains(length)
    else { return nil }
    self.init(around: address, prefixLength: length)
  }

  /// Tells whether an address lies in the range.
  public func contains(_ address: NetworkAddress) -> Bool {
    address.bits & Self.mask(prefixLength) == base.bits
  }

  /// The range as `10.0.0.0/16`.
  public var description: String { "\(base)/\(prefixLength)" }

  private static func mask(_ length: Int) -> UInt32 { length == 0 ? 0 : ~0 << UInt32(32 - length) }
}
