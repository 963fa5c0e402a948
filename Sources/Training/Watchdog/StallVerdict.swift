import Collectives
import DataParallel

/// What a watchdog knows of one rank.
package struct RankStatus: Hashable, Sendable {
  /// The rank's number.
  package var rank: Int
  /// The name of its host.
  package var host: String
  /// What its computing thread did when its watchdog was last heard.
  package var activity: RankActivity.Snapshot
  /// The seconds since its computing thread last made progress.
  package var idleSeconds: Double
  /// The seconds since its watchdog was last heard; a stopped process or a host without a link is silent.
  package var silentSeconds: Double

  /// Creates a status.
  package init(
    rank: Int, host: String, activity: RankActivity.Snapshot, idleSeconds: Double, silentSeconds: Double
  ) {
    self.rank = rank
    self.host = host
    self.activity = activity
    self.idleSeconds = idleSeconds
    self.silentSeconds = silentSeconds
  }

  /// The seconds for which its computing thread has waited for other ranks; 0 if it does not.
  var waitedSeconds: Double { Double(activity.waitedNanoseconds) * 1e-9 }
}

/// The decision whether ranks wait in vain, and for which.
///
/// A rank that merely waits is never blamed. A rank that does not wait but makes progress, as in a long evaluation or
/// checkpoint, delays the decision. So the suspects are ranks whose watchdog is silent, and ranks that neither wait nor make
/// progress.
package enum StallVerdict: Hashable, Sendable {
  /// No rank waits for long, or the rank that is awaited makes progress.
  case none
  /// Ranks wait in vain; one sentence names the suspects, their hosts, phases and times.
  case stalled(suspects: [Int], description: String)

  /// Decides.
  ///
  /// - Parameters:
  ///   - ranks: The ranks that are known.
  ///   - missing: The ranks that send no heartbeats; they are suspected only if no other rank is.
  ///   - limitSeconds: The longest wait.
  ///   - name: Returns the name of the tensor at an element of the flat parameters; `nil` if there is none.
  package init(_ ranks: [RankStatus], missing: [Int] = [], limitSeconds: Double, name: (Int) -> String?) {
    self = .none
    // In the startup ranks read and verify files of any size without stamps. It is over when any rank has begun a step.
    let isStartup = ranks.allSatisfy { $0.activity.phase == .startup }
    let limit = isStartup ? max(limitSeconds, Self.startupSeconds) : limitSeconds
    let silent = ranks.filter { $0.silentSeconds > limit / 2 }
    let heard = ranks.filter { $0.silentSeconds <= limit / 2 }
    let waiting = heard.filter { $0.waitedSeconds > limit }
    guard !waiting.isEmpty else { return }
    let computing = heard.filter { $0.activity.waitedNanoseconds == 0 }
    let stuck = computing.filter { $0.idleSeconds > limit * 0.9 }
    if silent.isEmpty && stuck.count < computing.count { return }
    if silent.isEmpty && stuck.isEmpty && waiting.count < heard.count { return }
    let suspects = (silent + stuck).sorted { $0.rank < $1.rank }
    var clauses = suspects.map { Self.clause($0, isSilent: silent.contains($0), name: name) }
    if suspects.isEmpty {
      clauses = [
        missing.isEmpty
          ? "no rank computes; a message was lost between them" : "\(RankList.description(missing)) cannot be heard"
      ]
    }
    let longest = waiting.map(\.waitedSeconds).max() ?? 0
    let first = waiting[0]
    let verb = waiting.count == 1 ? "has" : "have"
    self = .stalled(
      suspects: suspects.isEmpty ? missing : suspects.map(\.rank),
      description: clauses.joined(separator: "; ")
        + ", while \(RankList.description(waiting.map(\.rank))) \(verb) waited for \(Int(longest)) s in "
        + Self.place(first.activity, name: name))
  }

  /// The least limit of the startup.
  private static let startupSeconds = 120.0

  private static func clause(_ status: RankStatus, isSilent: Bool, name: (Int) -> String?) -> String {
    let place = place(status.activity, name: name)
    return isSilent
      ? "rank \(status.rank) on \(status.host) has not answered for \(Int(status.silentSeconds)) s, last seen in \(place)"
      : "rank \(status.rank) on \(status.host) has made no progress for \(Int(status.idleSeconds)) s in \(place)"
  }

  /// For example `the backward pass of step 17 at head.weight`.
  private static func place(_ activity: RankActivity.Snapshot, name: (Int) -> String?) -> String {
    let tensor = activity.element < 0 ? nil : name(activity.element)
    return activity.phase.description + (activity.step > 0 ? " of step \(activity.step)" : "")
      + (tensor.map { " at \($0)" } ?? "")
  }
}

extension RankActivity.Phase {
  /// A noun phrase.
  fileprivate var description: String {
    switch self {
    case .startup: "the startup"
    case .data: "the wait for images"
    case .forward: "the forward pass"
    case .backward: "the backward pass"
    case .update: "the update"
    case .comparison: "the comparison of parameters"
    case .checkpoint: "the checkpoint"
    case .evaluation: "the evaluation"
    case .end: "the end"
    }
  }
}
