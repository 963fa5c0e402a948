import COpenMPI
import Collectives
import Foundation

extension MPICommunicator {
  /// Whether messages are moved on while the ranks compute.
  public var progressesWhileComputing: Bool { messageProgress != nil }

  /// Moves the messages of all groups on, at most every 100 µs; does nothing where a thread does it.
  public func progress() {
    guard messageProgress == .poll, !tables.isEmpty else { return }
    let now = monotonicNanoseconds()
    guard now &- lastProgress > 100_000 else { return }
    lastProgress = now
    _ = progressGroups()
  }

  /// Starts the thread of ``MessageProgress/thread``.
  func startProgressThread() {
    let thread = Thread { [weak self] in
      while let self, self.progressOnce() { usleep(Self.sleepMicroseconds) }
    }
    thread.name = "wrn-progress"
    thread.start()
  }

  private static var sleepMicroseconds: UInt32 { 100 }

  /// Moves messages on as long as some get through.
  ///
  /// - Returns: False after the end of MPI.
  private func progressOnce() -> Bool {
    while true {
      let isBusy = locked {
        guard !isFinished else { return nil as Bool? }
        return progressGroups()
      }
      guard let isBusy else { return false }
      if !isBusy { return true }
    }
  }

  private func progressGroups() -> Bool {
    var isBusy = false
    for table in tables {
      let (code, completedCount) = table.progress()
      // Kept for the next wait, which throws it.
      if code != MPI_SUCCESS { noteFailure(code) }
      if completedCount > 0 { isBusy = true }
    }
    return isBusy
  }
}
