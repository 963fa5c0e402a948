import Collectives
import Foundation
import Support
import Synchronization

/// The thread of every rank that finds out for which rank the others wait in vain.
///
/// Every watchdog sends heartbeats to rank 0's over TCP, and rank 0's sends its own to all. Rank 0's watchdog judges all ranks;
/// the others judge rank 0 only, in case that it is stopped itself. No call of MPI is involved.
public final class Watchdog: Sendable {
  /// What a watchdog reports, on its own thread.
  public enum Report: Sendable {
    /// A third of the limit has passed; the sentence says who waits for whom.
    case warning(String)
    /// The limit has passed; the sentence says who waits for whom. The job must end.
    case stalled(String)
  }

  private let isStopping = Atomic<Bool>(false)

  /// Collective: connects the watchdogs of all ranks and starts their threads; blocks until all are connected.
  ///
  /// - Parameters:
  ///   - limitSeconds: The longest time for which a rank may wait, greater than 0.
  ///   - host: The name of this rank's host.
  ///   - addresses: The IPv4 addresses of this host that others may reach, as numbers; none if all ranks share a host.
  ///   - parameterNames: The first flat element and the name of each tensor, in order.
  ///   - communicator: The ranks, more than one.
  ///   - report: Called on the watchdog's thread.
  /// - Returns: The ranks that could not be connected; their silence means nothing. Equal on all ranks.
  /// - Throws: `CommunicationError` if a message fails, `SystemThread.StartError` if the thread cannot be started.
  public static func start(
    limitSeconds: Double, host: String, addresses: [UInt32], parameterNames: [(first: Int, name: String)],
    communicator: any Communicator, report: @escaping @Sendable (Report) -> Void
  ) throws -> (watchdog: Watchdog, unconnected: [Int]) {
    let watchdog = Watchdog()
    let rank = communicator.rank
    let hosts = try communicator.allGather(host)
    let isLocal = Set(hosts).count == 1
    let listener = rank == 0 ? HeartbeatSocket.listening(isLocal: isLocal) : nil
    let token = (0..<16).map { _ in UInt8.random(in: 0...255) }
    let places = isLocal ? [0x7f00_0001] : addresses
    let invitation = listener.map { socket in
      ([UInt64(socket.port)] + places.map(UInt64.init)).map(String.init).joined(separator: " ")
        + " " + token.map(String.init).joined(separator: ",")
    }
    let names = parameterNames
    let judge = StallJudge(limitSeconds: limitSeconds, hosts: hosts, own: rank) { element in
      names.last { $0.first <= element }?.name
    }
    let interval = max(0.05, min(1, limitSeconds / 12))
    let activity = communicator.statistics.activity
    if let listener {
      let hub = HeartbeatHub(listener, token: token, worldSize: communicator.worldSize)
      try watchdog.run(interval, report) {
        hub.exchange(activity.snapshot, judge, milliseconds: Int32(interval * 1000))
      }
    }
    let invitations = try communicator.allGather(invitation ?? "")
    var isConnected = rank == 0 && listener != nil
    if rank != 0, let socket = HeartbeatHub.join(invitations[0], rank: rank) {
      isConnected = true
      // A little later than rank 0, whose report is about all ranks, and the lower ranks first.
      let delay = interval * (1 + 0.5 * Double(rank))
      let spoke = HeartbeatSpoke(socket, rank: rank)
      try watchdog.run(interval, report) {
        spoke.exchange(activity.snapshot, judge, delaySeconds: delay, milliseconds: Int32(interval * 1000))
      }
    }
    let connected = try communicator.allGather(isConnected ? UInt8(1) : 0)
    return (watchdog, connected.indices.filter { connected[$0] == 0 })
  }

  /// Stops the thread; it ends within a second.
  public func stop() { isStopping.store(true, ordering: .relaxed) }

  deinit { stop() }

  /// Starts the thread.
  private func run(
    _ interval: Double, _ report: @escaping @Sendable (Report) -> Void, _ tick: @escaping () -> Report?
  ) throws {
    // The thread alone uses what it captures.
    nonisolated(unsafe) let tick = tick
    try SystemThread.start("wrn-watchdog", stackSize: 512 << 10) { [weak self] in
      while let self, !self.isStopping.load(ordering: .relaxed) {
        if let result = tick() { report(result) }
      }
    }
  }
}

/// The judgement of one watchdog: verdicts become a warning once per stall, then a report.
final class StallJudge {
  /// The names of all ranks' hosts.
  let hosts: [String]
  /// The silence after which a rank does not count as heard.
  var silenceSeconds: Double { limitSeconds / 2 }
  private let limitSeconds: Double
  private let own: Int
  private let name: (Int) -> String?
  private var hasWarned = false

  init(limitSeconds: Double, hosts: [String], own: Int, name: @escaping (Int) -> String?) {
    self.limitSeconds = limitSeconds
    self.hosts = hosts
    self.own = own
    self.name = name
  }

  /// Judges the ranks that this watchdog knows.
  ///
  /// - Parameters:
  ///   - ranks: Their states.
  ///   - missing: The ranks that send no heartbeats.
  ///   - delaySeconds: Additional seconds before a verdict.
  /// - Returns: What is to be reported now, or `nil`.
  func report(_ ranks: [RankStatus], missing: [Int] = [], delaySeconds: Double = 0) -> Watchdog.Report? {
    let limit = limitSeconds + delaySeconds
    if case .stalled(_, let description) = StallVerdict(ranks, missing: missing, limitSeconds: limit, name: name) {
      return .stalled(description)
    }
    guard own == 0 else { return nil }
    guard case .stalled(_, let description) = StallVerdict(ranks, missing: missing, limitSeconds: limit / 3, name: name)
    else {
      hasWarned = false
      return nil
    }
    defer { hasWarned = true }
    return hasWarned ? nil : .warning(description)
  }
}
