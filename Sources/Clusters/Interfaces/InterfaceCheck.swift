/// Checks for network interfaces that mislead Open MPI.
///
/// Open MPI tries every interface of a host. If two hosts have the same address, as two `docker0` do, each sends the other's
/// messages to itself, and the job hangs or fails (open-mpi/ompi#6377).
public enum InterfaceCheck {
  /// Finds addresses that are used more than once.
  ///
  /// - Parameter hosts: The interfaces of every host, each host once.
  /// - Returns: One sentence per address: the interfaces that have it and how to exclude them.
  public static func sharedAddresses(_ hosts: [HostInterfaces]) -> [String] {
    var uses: [NetworkAddress: [(host: String, interface: NetworkInterface)]] = [:]
    for host in hosts {
      for interface in host.interfaces where !interface.isLoopback {
        uses[interface.address, default: []].append((host.host, interface))
      }
    }
    let shared = uses.filter { $0.value.count > 1 }.sorted { $0.key.bits < $1.key.bits }
    let networks = usableNetworks(hosts, without: Set(shared.map(\.key)))
    let advice =
      networks.first.map {
        "start with --interface \($0) (mpirun --mca btl_tcp_if_include \($0) --mca oob_tcp_if_include \($0))"
      } ?? "name the network that the hosts share with --interface (btl_tcp_if_include of mpirun)"
    return shared.map { address, uses in
      let names = uses.prefix(3).map { "\($0.interface.name) on \($0.host)" }
      let more = uses.count > 3 ? " and \(uses.count - 3) more" : ""
      return
        "the address \(address) is used more than once, by \(names.joined(separator: ", "))\(more), and Open MPI would "
        + "treat those hosts as one; \(advice)"
    }
  }

  /// Finds interfaces of this host that look like a network but connect to no other host.
  ///
  /// - Parameter interfaces: Those of this host.
  /// - Returns: One sentence; `nil` if there are none.
  public static func bridges(_ interfaces: [NetworkInterface]) -> String? {
    let bridges = interfaces.filter(\.isVirtualBridge)
    guard !bridges.isEmpty else { return nil }
    let names = bridges.map(\.description).joined(separator: ", ")
    let real = interfaces.first { !$0.isVirtualBridge && !$0.isLoopback }
    let advice = real.map { "--interface \($0.network)" } ?? "--interface and the network that the hosts share"
    return
      "\(names) connects to no other host, but Open MPI tries it if other hosts have such an interface; start with \(advice)"
  }

  /// Describes the effect of `--interface` on this host.
  ///
  /// - Parameters:
  ///   - choice: A range such as `10.0.0.0/16`, or an interface's name.
  ///   - interfaces: Those of this host.
  /// - Returns: One sentence.
  /// - Throws: ``Unusable`` if it selects no interface.
  public static func describeSelection(_ choice: String, interfaces: [NetworkInterface]) throws(Unusable) -> String {
    let here = interfaces.map(\.description).joined(separator: ", ")
    if choice.contains("/") {
      guard let range = NetworkRange(choice) else {
        throw Unusable(
          "--interface \(choice) is not a range of addresses; write one like 10.0.0.0/16, or a name like eth0.")
      }
      guard let interface = interfaces.first(where: { range.contains($0.address) }) else {
        throw Unusable(
          "--interface \(choice) contains no address of this host, which has \(here); give the network that all hosts share."
        )
      }
      return
        "--interface \(choice) selects \(interface) here; mpirun gets it as btl_tcp_if_include (messages of the ranks) "
        + "and oob_tcp_if_include (start and end of the job), and every host must have an address in it"
    }
    guard let interface = interfaces.first(where: { $0.name == choice }) else {
      throw Unusable(
        "--interface \(choice) is not an interface of this host, which has \(here); a range such as "
          + "10.0.0.0/16 works on hosts whose interfaces have different names.")
    }
    return
      "--interface \(choice) selects \(interface) here; every host must have an interface of that name, unlike with "
      + "--interface \(interface.network)"
  }

  /// A choice of a network that this host does not have.
  public struct Unusable: Error, CustomStringConvertible {
    /// One sentence: what is wrong; how to fix it.
    public let description: String

    init(_ description: String) { self.description = description }
  }

  /// Returns the networks in which every host has an unshared address.
  private static func usableNetworks(
    _ hosts: [HostInterfaces], without shared: Set<NetworkAddress>
  ) -> [NetworkRange] {
    let candidates = (hosts.first?.interfaces ?? []).filter {
      !$0.isLoopback && !$0.isVirtualBridge && !shared.contains($0.address)
    }
    return candidates.map(\.network).filter { network in
      hosts.allSatisfy { host in
        host.interfaces.contains { network.contains($0.address) && !shared.contains($0.address) }
      }
    }
  }
}
