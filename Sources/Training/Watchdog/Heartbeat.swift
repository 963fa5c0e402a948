import Collectives
import Glibc
import Support

/// The message that a watchdog sends every second: its rank and what its computing thread does, in 40 bytes.
struct Heartbeat {
  /// The bytes of a message.
  static let byteCount = 40

  /// The sender.
  let rank: Int
  /// What the sender's computing thread does.
  let activity: RankActivity.Snapshot

  /// Describes a rank.
  init(rank: Int, activity: RankActivity.Snapshot) {
    self.rank = rank
    self.activity = activity
  }

  /// Reads a message; `nil` if it is invalid.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.byteCount else { return nil }
    func word(_ index: Int) -> UInt64 {
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
    }
    let ids = word(0)
    guard let phase = RankActivity.Phase(rawValue: Int(ids >> 32)) else { return nil }
    rank = Int(ids & 0xffff_ffff)
    activity = RankActivity.Snapshot(
      phase: phase, step: Int(truncatingIfNeeded: word(1)), element: Int(truncatingIfNeeded: word(2)),
      waitedNanoseconds: word(3), stampCount: word(4))
  }

  /// The message.
  var bytes: [UInt8] {
    let words = [
      UInt64(rank) | UInt64(activity.phase.rawValue) << 32, UInt64(bitPattern: Int64(activity.step)),
      UInt64(bitPattern: Int64(activity.element)), activity.waitedNanoseconds, activity.stampCount,
    ]
    return words.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } }
  }
}

/// A rank's state as its heartbeats show it, in the receiver's clock.
struct HeartbeatHistory {
  private let rank: Int
  private let host: String
  private var activity: RankActivity.Snapshot
  private var heard: UInt64
  private var progressed: UInt64

  /// Starts a history in which the rank has just been heard.
  init(rank: Int, host: String, activity: RankActivity.Snapshot) {
    self.rank = rank
    self.host = host
    self.activity = activity
    heard = MonotonicClock.now()
    progressed = heard
  }

  /// Records a heartbeat that has just arrived.
  mutating func record(_ activity: RankActivity.Snapshot) {
    heard = MonotonicClock.now()
    if activity.stampCount != self.activity.stampCount { progressed = heard }
    self.activity = activity
  }

  /// The state now.
  var status: RankStatus {
    RankStatus(
      rank: rank, host: host, activity: activity, idleSeconds: MonotonicClock.seconds(since: progressed),
      silentSeconds: MonotonicClock.seconds(since: heard))
  }
}
