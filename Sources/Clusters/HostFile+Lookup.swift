extension HostFile {
  /// Judges what looking its hosts up gave.
  ///
  /// - Parameters:
  ///   - results: A result for every host's address.
  ///   - network: The network that the ranks are to use, if one is chosen.
  /// - Returns: A fatal finding for names that are unknown, warnings for hosts named twice and hosts outside the network.
  public func findings(
    _ results: [String: HostLookup.Result], network: NetworkRange? = nil
  ) -> [Finding] {
    var findings: [Finding] = []
    var seen: [NetworkAddress: Host] = [:]
    for host in hosts {
      switch results[host.address] {
      case .failed(let reason):
        findings.append(
          Finding(
            .fatal, line: host.line,
            "the host \(host.address) is unknown here (\(reason)); is the name right, and does every host know it?"))
      case .found(let addresses):
        for address in addresses {
          if let other = seen[address] {
            findings.append(
              Finding(
                .warning, line: host.line,
                "\(host.address) and \(other.address) have the same address \(address): one host under two names would "
                  + "get the ranks of both"))
            break
          }
          seen[address] = host
        }
        if let network, !addresses.isEmpty, !addresses.contains(where: network.contains) {
          findings.append(
            Finding(
              .warning, line: host.line,
              "\(host.address) is known here as \(addresses[0]), outside \(network); it needs an address there as well")
          )
        }
      case nil: break
      }
    }
    return findings
  }
}
