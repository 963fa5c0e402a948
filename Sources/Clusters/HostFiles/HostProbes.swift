import Foundation
import Glibc

/// The addresses of a host's name, as this machine finds them.
public enum HostLookup {
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
