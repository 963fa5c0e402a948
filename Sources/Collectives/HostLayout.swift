/// How ranks are spread over hosts, where that is regular.
public enum HostLayout {
  /// Returns how many ranks each host has, if ranks can work together host by host.
  ///
  /// - Parameter hosts: The host of every rank, as ``Communicator/hosts`` has them.
  /// - Returns: The ranks of each host if there are several hosts with equally many ranks, more than one, each host
  ///   filled after the one before; else nil.
  public static func ranksPerHost(_ hosts: [Int]) -> Int? {
    let hostCount = (hosts.max() ?? 0) + 1
    let local = hosts.count / hostCount
    guard hostCount > 1, local > 1, hosts.count == local * hostCount,
      hosts.indices.allSatisfy({ hosts[$0] == $0 / local })
    else { return nil }
    return local
  }
}
