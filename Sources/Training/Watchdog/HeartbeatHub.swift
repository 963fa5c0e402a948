import Collectives
import Glibc
import Support

/// Rank 0's end of the heartbeats: accepts the other ranks, and knows the state of all.
final class HeartbeatHub {
  private let listener: HeartbeatSocket
  private let token: [UInt8]
  private let worldSize: Int
  private var newcomers: [(socket: HeartbeatSocket, since: UInt64)] = []
  private var sockets: [Int: HeartbeatSocket] = [:]
  private var histories: [Int: HeartbeatHistory] = [:]
  private var own: HeartbeatHistory?
  private var lastTick: UInt64 = 0

  /// Starts with a listening socket.
  init(_ listener: HeartbeatSocket, token: [UInt8], worldSize: Int) {
    self.listener = listener
    self.token = token
    self.worldSize = worldSize
  }

  /// Connects to rank 0 as it asks: port, addresses and token, separated by blanks; `nil` if no address answers.
  static func join(_ invitation: String, rank: Int) -> HeartbeatSocket? {
    let words = invitation.split(separator: " ")
    guard let port = words.first.flatMap({ UInt16($0) }), let token = words.last?.split(separator: ",") else {
      return nil
    }
    let secret = token.compactMap { UInt8($0) }
    for address in words.dropFirst().dropLast().compactMap({ UInt32($0) }) {
      guard let socket = HeartbeatSocket.connected(to: address, port: port) else { continue }
      socket.send(secret + withUnsafeBytes(of: UInt32(rank).littleEndian) { Array($0) })
      // Another program, or this host under an address that all hosts have, does not answer with the token.
      guard socket.wait(for: POLLIN, milliseconds: 2000) else { continue }
      if socket.receive(byteCount: secret.count).message == secret { return socket }
    }
    return nil
  }

  /// Accepts connections, exchanges heartbeats once per interval, and judges all ranks.
  func exchange(_ activity: RankActivity.Snapshot, _ judge: StallJudge, milliseconds: Int32) -> Watchdog.Report? {
    _ = listener.wait(for: POLLIN, milliseconds: newcomers.isEmpty ? milliseconds : 10)
    acceptNewcomers(judge)
    guard MonotonicClock.seconds(since: lastTick) * 1000 >= Double(milliseconds) * 0.9 else { return nil }
    lastTick = MonotonicClock.now()
    let message = Heartbeat(rank: 0, activity: activity).bytes
    for (rank, socket) in sockets {
      while true {
        let (bytes, isClosed) = socket.receive(byteCount: Heartbeat.byteCount)
        // A rank that has ended is mpirun's to report.
        if isClosed { (sockets[rank], histories[rank]) = (nil, nil) }
        guard let bytes else { break }
        if let beat = bytes.withUnsafeBytes({ Heartbeat($0) }), beat.rank == rank {
          histories[rank]?.record(beat.activity)
        }
      }
      socket.send(message)
    }
    var own = own ?? HeartbeatHistory(rank: 0, host: judge.hosts[0], activity: activity)
    own.record(activity)
    self.own = own
    let missing = (1..<worldSize).filter { histories[$0] == nil }
    return judge.report([own.status] + histories.keys.sorted().compactMap { histories[$0]?.status }, missing: missing)
  }

  private func acceptNewcomers(_ judge: StallJudge) {
    while newcomers.count < 64, let socket = listener.accepted() { newcomers.append((socket, MonotonicClock.now())) }
    newcomers.removeAll { socket, since in
      let (hello, isClosed) = socket.receive(byteCount: token.count + 4)
      guard let hello else { return isClosed || MonotonicClock.seconds(since: since) > 5 }
      let rank = hello.suffix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      guard hello.prefix(token.count) == token[...], (1..<worldSize).contains(rank), sockets[rank] == nil else {
        return true
      }
      socket.send(token)
      sockets[rank] = socket
      histories[rank] = HeartbeatHistory(
        rank: rank, host: judge.hosts[rank],
        activity: RankActivity.Snapshot(phase: .startup, step: 0, element: -1, waitedNanoseconds: 0, stampCount: 0))
      return true
    }
  }
}

/// The end of the heartbeats of a rank other than 0: knows its own state and that of rank 0.
final class HeartbeatSpoke {
  private let socket: HeartbeatSocket
  private let rank: Int
  private var root: HeartbeatHistory?
  private var own: HeartbeatHistory?
  private var isClosed = false

  /// Starts with a connection to rank 0.
  init(_ socket: HeartbeatSocket, rank: Int) {
    self.socket = socket
    self.rank = rank
  }

  /// Sends a heartbeat, and judges whether this rank waits for a rank 0 that is silent.
  func exchange(
    _ activity: RankActivity.Snapshot, _ judge: StallJudge, delaySeconds: Double, milliseconds: Int32
  ) -> Watchdog.Report? {
    // Rank 0 may stop before its first heartbeat.
    var root =
      root
      ?? HeartbeatHistory(
        rank: 0, host: judge.hosts[0],
        activity: RankActivity.Snapshot(phase: .startup, step: 0, element: -1, waitedNanoseconds: 0, stampCount: 0))
    usleep(UInt32(milliseconds) * 1000)
    socket.send(Heartbeat(rank: rank, activity: activity).bytes)
    while !isClosed {
      let (bytes, isClosed) = socket.receive(byteCount: Heartbeat.byteCount)
      self.isClosed = isClosed
      guard let bytes else { break }
      guard let beat = bytes.withUnsafeBytes({ Heartbeat($0) }) else { continue }
      root.record(beat.activity)
    }
    self.root = root
    // When rank 0 ends, mpirun reports it.
    guard !isClosed else { return nil }
    var own = own ?? HeartbeatHistory(rank: rank, host: judge.hosts[rank], activity: activity)
    own.record(activity)
    self.own = own
    // Rank 0 judges all others, as long as it is heard.
    guard root.status.silentSeconds > judge.silenceSeconds + delaySeconds else { return nil }
    return judge.report([root.status, own.status], delaySeconds: delaySeconds)
  }
}
