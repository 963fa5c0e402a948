import Foundation
import Glibc

/// The addresses of a host's name, as this machine finds them.
public enum HostResolver {
  /// What looking a name up gave.
  public enum Result: Hashable, Sendable {
    /// Its IPv4 addresses; empty if it has others only.
    case found([NetworkAddress])
    /// Why there is none, in the system's words.
    case failed(String)
  }

  /// Looks names up, many at a time, within a bounded time.
  ///
  /// - Parameters:
  ///   - names: Host names or addresses.
  ///   - limit: When names that are still looked up count as failed.
  ///   - find: Looks one name up; the system's resolver unless given.
  /// - Returns: A result for every name.
  public static func all(
    _ names: [String], limit: Duration = .seconds(10), find: @escaping @Sendable (String) -> Result = one
  ) -> [String: Result] {
    let seconds = Double(limit.components.seconds)
    let late = Result.failed("no answer within \(limit.components.seconds) s")
    let board = Board(Dictionary(names.map { ($0, late) }) { first, _ in first })
    let group = DispatchGroup()
    for _ in board.names { group.enter() }
    // Threads of their own: a queue's start late where other work keeps the system's few busy, and the limit runs.
    for _ in 0..<min(32, board.names.count) {
      Thread {
        while let name = board.next() {
          board.set(name, find(name))
          group.leave()
        }
      }.start()
    }
    _ = group.wait(timeout: .now() + seconds)
    return board.results
  }

  /// Looks one name up.
  public static func one(_ name: String) -> Result {
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

  /// Results as they come in.
  private final class Board: @unchecked Sendable {
    private let lock = NSLock()
    let names: [String]
    private var values: [String: Result]
    private var startedCount = 0

    init(_ values: [String: Result]) {
      self.values = values
      names = values.keys.sorted()
    }

    /// A name that no thread has taken yet.
    func next() -> String? {
      lock.withLock {
        guard startedCount < names.count else { return nil }
        startedCount += 1
        return names[startedCount - 1]
      }
    }

    var results: [String: Result] { lock.withLock { values } }

    func set(_ name: String, _ result: Result) { lock.withLock { values[name] = result } }
  }
}

/// Whether `mpirun` will be able to start something on the other hosts.
public struct HostProbe: Sendable {
  /// The program that starts a command on a host, with its options; `mpirun`'s `plm_rsh_agent`.
  public let agent: [String]
  /// When a host that has not answered counts as out of reach.
  public let limit: Duration

  /// Describes a check.
  ///
  /// - Parameters:
  ///   - agent: The agent's words; nil or empty: `ssh`, which must not ask for a password.
  ///   - limit: The time that a host gets.
  public init(agent: String? = nil, limit: Duration = .seconds(10)) {
    let words = (agent ?? "").split(separator: " ").map(String.init)
    let seconds = max(1, limit.components.seconds - 2)
    self.agent =
      words.isEmpty ? ["ssh", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=\(seconds)"] : words
    self.limit = limit
  }

  /// Runs `true` on every host, many at a time.
  ///
  /// - Parameter hosts: The hosts other than this one.
  /// - Returns: A fatal finding for each that could not be reached, in the order of `hosts`.
  public func findings(_ hosts: [HostFile.Host]) -> [HostFile.Diagnostic] {
    let queue = OperationQueue()
    queue.maxConcurrentOperationCount = 32
    let board = Board(count: hosts.count)
    for (i, host) in hosts.enumerated() {
      queue.addOperation { board.set(i, problem(host.name)) }
    }
    queue.waitUntilAllOperationsAreFinished()
    return zip(hosts, board.problems).compactMap { host, problem in
      problem.map {
        HostFile.Diagnostic(
          .fatal, line: host.line,
          "the host \(host.address) cannot be reached (\($0)); does '\(agent[0]) \(host.name) true' work without a password?"
        )
      }
    }
  }

  /// Returns why a host could not be reached, or nil.
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

  /// Problems as they are found.
  private final class Board: @unchecked Sendable {
    private let lock = NSLock()
    private var found: [String?]

    init(count: Int) { found = [String?](repeating: nil, count: count) }

    var problems: [String?] { lock.withLock { found } }

    func set(_ i: Int, _ problem: String?) { lock.withLock { found[i] = problem } }
  }
}

extension HostFile {
  /// Judges what looking its hosts up gave.
  ///
  /// - Parameters:
  ///   - results: A result for every host's address.
  ///   - network: The network that the ranks are to use, if one is chosen.
  /// - Returns: A fatal finding for names that are unknown, warnings for hosts named twice and hosts outside the network.
  public func findings(
    _ results: [String: HostResolver.Result], network: NetworkRange? = nil
  ) -> [Diagnostic] {
    var findings: [Diagnostic] = []
    var seen: [NetworkAddress: Host] = [:]
    for host in hosts {
      switch results[host.address] {
      case .failed(let reason):
        findings.append(
          Diagnostic(
            .fatal, line: host.line,
            "the host \(host.address) is unknown here (\(reason)); is the name right, and does every host know it?"))
      case .found(let addresses):
        for address in addresses {
          if let other = seen[address] {
            findings.append(
              Diagnostic(
                .warning, line: host.line,
                "\(host.address) and \(other.address) have the same address \(address): one host under two names would "
                  + "get the ranks of both"))
            break
          }
          seen[address] = host
        }
        if let network, !addresses.isEmpty, !addresses.contains(where: network.contains) {
          findings.append(
            Diagnostic(
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
