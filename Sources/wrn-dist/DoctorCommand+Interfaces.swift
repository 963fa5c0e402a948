import Clusters
import Collectives
import OpenMPI

extension DoctorCommand {
  /// Looks for networks that would mislead Open MPI, over the hosts of all ranks.
  ///
  /// Every rank calls it.
  ///
  /// - Parameter communicator: The ranks.
  /// - Returns: Advice, one sentence each with its full stop; the same on every rank of a host.
  /// - Throws: `CommunicationError` if the exchange fails.
  func interfaceAdvice(_ communicator: any Communicator) throws -> [String] {
    let mine = HostInterfaces(host: CoreBinding.current().hostName, interfaces: NetworkInterface.current())
    let all = try communicator.allGather(mine.line).compactMap(HostInterfaces.init(line:))
    var hosts: [HostInterfaces] = []
    for host in all where !hosts.contains(where: { $0.host == host.host }) { hosts.append(host) }
    var sentences = InterfaceCheck.sharedAddresses(hosts)
    // On a single host nobody needs its networks.
    if sentences.isEmpty && hosts.count > 1 {
      sentences += [InterfaceCheck.bridges(mine.interfaces)].compactMap { $0 }
    }
    return sentences.map { $0 + "." }
  }
}
