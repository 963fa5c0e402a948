import Foundation

/// Whether `mpirun` will be able to start something on the other hosts.
public struct HostReach: Sendable {
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
  public func findings(_ hosts: [HostFile.Host]) -> [HostFile.Finding] {
    let queue = OperationQueue()
    queue.maxConcurrentOperationCount = 32
    let board = Board(count: hosts.count)
    for (i, host) in hosts.enumerated() {
      queue.addOperation { board.set(i, problem(host.name)) }
    }
    queue.waitUntilAllOperationsAreFinished()
    return zip(hosts, board.problems).compactMap { host, problem in
      problem.map {
        HostFile.Finding(
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
