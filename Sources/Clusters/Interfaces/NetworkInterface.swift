import Glibc

/// A network interface of a host, with one of its IPv4 addresses.
public struct NetworkInterface: Hashable, Sendable, CustomStringConvertible {
  /// Its name, such as `eth0`.
  public let name: String
  /// Its address.
  public let address: NetworkAddress
  /// The addresses that it connects to directly.
  public let network: NetworkRange

  /// Creates an interface.
  public init(name: String, address: NetworkAddress, prefixLength: Int) {
    self.name = name
    self.address = address
    network = NetworkRange(around: address, prefixLength: prefixLength)
  }

  /// Whether it only connects this host to itself.
  public var isLoopback: Bool { address.bits >> 24 == 127 }

  /// Whether software for containers or virtual machines created it, so that it connects to no other host.
  public var isVirtualBridge: Bool {
    ["docker", "virbr", "br-", "lxcbr", "lxdbr", "cni", "podman", "veth", "cbr"].contains { name.hasPrefix($0) }
  }

  /// The interface as `eth0 10.0.0.7/16`.
  public var description: String { "\(name) \(address)/\(network.prefixLength)" }

  /// Returns the interfaces of this host that are up.
  public static func current() -> [NetworkInterface] {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var result: [NetworkInterface] = []
    var next = list
    while let entry = next?.pointee {
      next = entry.ifa_next
      guard entry.ifa_flags & UInt32(IFF_UP) != 0, let address = ipv4(entry.ifa_addr),
        let mask = ipv4(entry.ifa_netmask)
      else { continue }
      result.append(
        NetworkInterface(
          name: String(cString: entry.ifa_name), address: address, prefixLength: mask.bits.nonzeroBitCount))
    }
    return result
  }

  private static func ipv4(_ address: UnsafeMutablePointer<sockaddr>?) -> NetworkAddress? {
    guard let address, address.pointee.sa_family == sa_family_t(AF_INET) else { return nil }
    return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      NetworkAddress(bits: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
    }
  }
}

/// The interfaces of one host.
public struct HostInterfaces: Hashable, Sendable {
  /// The host's name.
  public let host: String
  /// Its interfaces.
  public let interfaces: [NetworkInterface]

  /// Creates the interfaces of a host.
  public init(host: String, interfaces: [NetworkInterface]) {
    self.host = host
    self.interfaces = interfaces
  }

  /// One line that ``init(line:)`` reads.
  public var line: String { ([host] + interfaces.map(\.description)).joined(separator: "\t") }

  /// Reads a ``line``; `nil` if it is not one.
  public init?(line: String) {
    let fields = line.split(separator: "\t").map(String.init)
    guard let host = fields.first else { return nil }
    self.host = host
    let found = fields.dropFirst().map { field -> NetworkInterface? in
      let words = field.split(separator: " ")
      let range = words.last?.split(separator: "/") ?? []
      guard words.count == 2, range.count == 2, let address = NetworkAddress(range[0]), let length = Int(range[1]),
        (0...32).contains(length)
      else { return nil }
      return NetworkInterface(name: String(words[0]), address: address, prefixLength: length)
    }
    guard !found.contains(nil) else { return nil }
    interfaces = found.compactMap { $0 }
  }
}

/// An IPv4 address.
public struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
  /// The four bytes, the first one most significant.
  public let bits: UInt32

  /// Creates an address from its bits.
  public init(bits: UInt32) { self.bits = bits }

  /// Reads `10.0.0.7`; `nil` for anything else.
  public init?(_ text: some StringProtocol) {
    let components = text.split(separator: ".", omittingEmptySubsequences: false)
    guard components.count == 4 else { return nil }
    var bits: UInt32 = 0
    for component in components {
      guard component.allSatisfy(\.isNumber), let byte = UInt8(component) else { return nil }
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

  /// Creates the range around an address.
  ///
  /// - Precondition: `prefixLength` is in 0 … 32.
  public init(around address: NetworkAddress, prefixLength: Int) {
    precondition((0...32).contains(prefixLength), "an IPv4 prefix has 0 to 32 bits")
    self.prefixLength = prefixLength
    base = NetworkAddress(bits: address.bits & Self.mask(prefixLength))
  }

  /// Reads `10.0.0.0/16`; `nil` for anything else.
  public init?(_ text: String) {
    let components = text.split(separator: "/", omittingEmptySubsequences: false)
    guard components.count == 2, let address = NetworkAddress(components[0]), let length = Int(components[1]),
      (0...32).contains(length)
    else { return nil }
    self.init(around: address, prefixLength: length)
  }

  /// Returns whether an address is in the range.
  public func contains(_ address: NetworkAddress) -> Bool {
    address.bits & Self.mask(prefixLength) == base.bits
  }

  /// The range as `10.0.0.0/16`.
  public var description: String { "\(base)/\(prefixLength)" }

  private static func mask(_ length: Int) -> UInt32 { length == 0 ? 0 : ~0 << UInt32(32 - length) }
}
