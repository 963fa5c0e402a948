import Foundation
import Glibc
import Support

/// The IPv4 addresses of host names, as this machine resolves them.
public enum HostResolver {
  /// The result for one name.
  public enum Result: Hashable, Sendable {
    /// Its IPv4 addresses; empty if it only has others.
    case found([NetworkAddress])
    /// The resolver's reason for the failure.
    case failed(String)
  }

  /// Resolves names in parallel, within a bounded time.
  ///
  /// - Parameters:
  ///   - names: Host names or addresses.
  ///   - limit: The time for all names. Those without a result by then count as failed.
  ///   - lookUp: Resolves one name; the system's resolver by default.
  /// - Returns: A result per name.
  public static func resolve(
    _ names: [String], limit: Duration = .seconds(10),
    with lookUp: @escaping @Sendable (String) -> Result = { HostResolver.resolve($0) }
  ) -> [String: Result] {
    let names = Set(names).sorted()
    let late = Result.failed("no answer within \(limit.components.seconds) s")
    let results = WorkerBoard.run(names, fallback: late, limit: limit, lookUp)
    return Dictionary(uniqueKeysWithValues: zip(names, results))
  }

  /// Resolves one name.
  public static func resolve(_ name: String) -> Result {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(name, nil, &hints, &list)
    guard code == 0 else { return .failed(String(cString: gai_strerror(code))) }
    defer { freeaddrinfo(list) }
    var addresses: [NetworkAddress] = []
    var next = list
    while let entry = next?.pointee {
      next = entry.ai_next
      guard entry.ai_family == AF_INET, let address = entry.ai_addr else { continue }
      let bits = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        UInt32(bigEndian: $0.pointee.sin_addr.s_addr)
      }
      let found = NetworkAddress(bits: bits)
      if !addresses.contains(found) { addresses.append(found) }
    }
    return .found(addresses)
  }
}

/// A check whether `mpirun` can start processes on other hosts.
public struct HostProbe: Sendable {
  /// The program that starts a command on a host, with its options; `mpirun`'s `plm_rsh_agent`.
  public let agent: [String]
  /// The time per host, after which it counts as unreachable.
  public let limit: Duration

  /// Creates a check.
  ///
  /// - Parameters:
  ///   - agent: The agent's words. If `nil` or empty, `ssh` without password prompts.
  ///   - limit: The time per host.
  public init(agent: String? = nil, limit: Duration = .seconds(10)) {
    let words = (agent ?? "").split(separator: " ").map(String.init)
    let seconds = max(1, limit.components.seconds - 2)
    self.agent =
      words.isEmpty ? ["ssh", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=\(seconds)"] : words
    self.limit = limit
  }

  /// Runs `true` on every host, in parallel.
  ///
  /// - Parameter hosts: The hosts other than this one.
  /// - Returns: A fatal diagnostic per unreachable host, in the order of `hosts`.
  public func diagnostics(of hosts: [HostFile.Host]) -> [HostFile.Diagnostic] {
    let problems = WorkerBoard.run(hosts, fallback: nil) { problem($0.name) }
    return zip(hosts, problems).compactMap { host, problem in
      problem.map {
        HostFile.Diagnostic(
          .fatal, line: host.line,
          "the host \(host.address) cannot be reached (\($0)); does '\(agent[0]) \(host.name) true' work without a password?"
        )
      }
    }
  }

  /// Returns why a host is unreachable; `nil` if it is reachable.
  private func problem(_ host: String) -> String? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = agent + [host, "true"]
    let errors = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = errors
    let ended = DispatchSemaphore(value: 0)
    process.terminationHandler = { _ in ended.signal() }
    do { try process.run() } catch { return "\(agent[0]) cannot be started" }
    let isInTime = ended.wait(timeout: .now() + Double(limit.components.seconds)) == .success
    if !isInTime {
      kill(process.processIdentifier, SIGKILL)
      return "no answer within \(limit.components.seconds) s"
    }
    guard process.terminationStatus != 0 else { return nil }
    let text = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
    let last = text.split(whereSeparator: \.isNewline).last.map { String($0).trimmingCharacters(in: .whitespaces) }
    return last ?? "\(agent[0]) ended with \(process.terminationStatus)"
  }
}

/// Items that up to 32 threads take one after the other, and their results.
private final class WorkerBoard<Item: Sendable, Result: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private let items: [Item]
  private var results: [Result]
  private var startedCount = 0

  /// Runs `work` on every item.
  ///
  /// - Parameters:
  ///   - items: The items.
  ///   - fallback: The result of an item whose work has not ended when the limit is reached.
  ///   - limit: The time for all items. If `nil`, waits for all of them.
  ///   - work: Runs on a thread of the board, which outlives the limit if it does not return.
  /// - Returns: A result per item.
  static func run(
    _ items: [Item], fallback: Result, limit: Duration? = nil, _ work: @escaping @Sendable (Item) -> Result
  ) -> [Result] {
    let board = WorkerBoard(items, fallback: fallback)
    let group = DispatchGroup()
    for _ in items { group.enter() }
    // Not the threads of a dispatch queue: they start late where other work keeps them busy, and the limit runs.
    let takeItems: @Sendable () -> Void = {
      while let i = board.next() {
        board.set(i, work(items[i]))
        group.leave()
      }
    }
    var threadCount = 0
    while threadCount < min(32, items.count), (try? SystemThread.start("wrn-probe", takeItems)) != nil {
      threadCount += 1
    }
    if threadCount == 0 { takeItems() }
    _ = group.wait(timeout: limit.map { .now() + Double($0.components.seconds) } ?? .distantFuture)
    return board.lock.withLock { board.results }
  }

  private init(_ items: [Item], fallback: Result) {
    self.items = items
    results = [Result](repeating: fallback, count: items.count)
  }

  /// Returns the index of an item that no thread has taken yet.
  private func next() -> Int? {
    lock.withLock {
      guard startedCount < items.count else { return nil }
      startedCount += 1
      return startedCount - 1
    }
  }

  private func set(_ i: Int, _ result: Result) { lock.withLock { results[i] = result } }
}

extension HostFile {
  /// Diagnoses the results of resolving the hosts.
  ///
  /// - Parameters:
  ///   - results: A result of ``HostResolver`` per host address.
  ///   - network: The network that the ranks are to use, if one is chosen.
  /// - Returns: A fatal diagnostic per unknown host, and warnings for hosts with two names or outside the network.
  public func diagnostics(
    _ results: [String: HostResolver.Result], network: NetworkRange? = nil
  ) -> [Diagnostic] {
    var diagnostics: [Diagnostic] = []
    var seen: [NetworkAddress: Host] = [:]
    for host in hosts {
      switch results[host.address] {
      case .failed(let reason):
        diagnostics.append(
          Diagnostic(
            .fatal, line: host.line,
            "the host \(host.address) is unknown here (\(reason)); is the name right, and does every host know it?"))
      case .found(let addresses):
        for address in addresses {
          if let other = seen[address] {
            diagnostics.append(
              Diagnostic(
                .warning, line: host.line,
                "\(host.address) and \(other.address) have the same address \(address): one host under two names would "
                  + "get the ranks of both"))
            break
          }
          seen[address] = host
        }
        if let network, !addresses.isEmpty, !addresses.contains(where: network.contains) {
          diagnostics.append(
            Diagnostic(
              .warning, line: host.line,
              "\(host.address) is known here as \(addresses[0]), outside \(network); it needs an address there as well")
          )
        }
      case nil: break
      }
    }
    return diagnostics
  }
}
