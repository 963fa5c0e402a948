import Foundation
import Glibc

extension RunLease {
  /// The process that writes to a run's directory, as another process sees it.
  public enum Observation: Sendable, Hashable {
    /// No process holds the lease.
    case free
    /// A process holds it.
    case held(by: String)
    /// The process that holds it has ended, or its host has not renewed it.
    case stale(from: String)
  }

  /// Observes the lease of a directory without taking it; returns at once.
  ///
  /// A holder on this host is alive if its process is. The lease of another host is held if its file was renewed within
  /// ``observationSeconds``, by the clock of this host.
  ///
  /// - Parameter directory: A run's directory, which need not exist.
  /// - Returns: The state, with a description of the holder such as `process 4711 on node01, job 815`.
  public static func observe(_ directory: String) -> Observation {
    let path = "\(directory)/.lease"
    guard let contents = FileManager.default.contents(atPath: path) else { return .free }
    guard let holder = try? JSONDecoder().decode(Holder.self, from: contents) else {
      return .stale(from: "an unknown process")
    }
    let job = holder.job.map { ", job \($0)" } ?? ""
    let description = "process \(holder.process) on \(holder.host)\(job)"
    let own = Holder.current()
    let isAlive: Bool
    if holder.host == own.host && holder.boot == own.boot {
      isAlive = Holder.start(of: holder.process) == holder.started
    } else {
      var status = stat()
      let age = stat(path, &status) == 0 ? time(nil) - status.st_mtim.tv_sec : .max
      isAlive = Double(age) < observationSeconds
    }
    return isAlive ? .held(by: description) : .stale(from: description)
  }
}
