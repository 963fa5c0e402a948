import Foundation
import Support

extension RunDetails {
  /// The command of the first session, to paste into a shell; `nil` for runs of older programs.
  var command: String? {
    guard let session = run.description?.sessions.first, !session.command.isEmpty else { return nil }
    let launcher = session.rankCount > 1 ? ["mpirun", "-np", "\(session.rankCount)"] : []
    return (launcher + session.command).map(QuotedText.shell).joined(separator: " ")
  }

  /// Everything else that is needed to repeat the run and to compare the result.
  var facts: [(String, String)] {
    let session = run.description?.sessions.first
    let state = run.checkpoint?.state
    let values: [(String, String?)] = [
      ("Started in", session?.directory), ("Version", session?.version),
      ("Seed", run.setting("seed") ?? state.map { "\($0.seed)" }), ("Network", run.network),
      ("Data", run.description?.data ?? run.setting("data")),
      ("Data digest", run.description?.dataDigest ?? state?.dataDigest),
      ("Checkpoint", run.facts.map { "\($0.path), after step \($0.step)" }), ("Parameter digest", run.facts?.digest),
      ("Directory", run.directory),
    ]
    return values.compactMap { term, value in value.map { (term, $0) } }
  }

  /// One row per host and session.
  var sessions: [[String: Any]] {
    (run.description?.sessions ?? []).flatMap { session in
      session.hosts.map { host in
        [
          "started": session.started, "first_step": "\(session.firstStep)", "version": session.version,
          "engine": session.engine, "host": host.name, "cpu": host.cpu, "ranks": "\(host.ranks)",
          "threads": Set(host.threads).sorted().map(String.init).joined(separator: ", "),
        ]
      }
    }
  }
}
