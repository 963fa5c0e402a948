import Foundation
import Synchronization
import TestSupport
import Testing
import Training

/// The lease of a run's directory: one holder, and stale ones are recognized.
@Suite struct RunLeaseTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func holder(
    host: String? = nil, boot: String? = nil, process: Int32? = nil, started: String? = nil
  ) -> RunLease.Holder {
    let own = RunLease.Holder.current()
    return RunLease.Holder(
      host: host ?? own.host, boot: boot ?? own.boot, process: process ?? own.process, started: started ?? own.started,
      job: "77", token: UUID().uuidString)
  }

  private func write(_ holder: RunLease.Holder) throws {
    try folder.write(".lease", String(decoding: try JSONEncoder().encode(holder), as: UTF8.self))
  }

  private func take(observing seconds: Double = 0.5) throws -> RunLease {
    try RunLease(folder.path, holder: nil, renewalSeconds: 0.05, observationSeconds: seconds)
  }

  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.path) }

  @Test func aLiveProcessOfThisHostKeepsIt() throws {
    let first = try take()
    let error = #expect(throws: CheckpointError.self) { try take() }
    #expect(error?.exitCode == 73)
    #expect(error?.description.contains("another run writes to the output directory \(folder.path) (process ") == true)
    try first.requireHeld()
    #expect(try names() == [".lease"])
  }

  @Test func itIsReleased() throws {
    do { _ = try take() }
    #expect(try names().isEmpty)
  }

  @Test func aProcessThatHasEndedLosesIt() throws {
    let ended = try ProcessRun("/bin/sh", ["-c", "echo $$"]).run()
    try write(holder(process: Int32(try #require(ended.lines.first)) ?? 0, started: "1"))
    try take().requireHeld()
    // The number of a process is used again.
    try write(holder(started: "1"))
    try take().requireHeld()
  }

  @Test func anotherHostKeepsItWhileItRenewsIt() throws {
    try write(holder(host: "elsewhere", boot: "other"))
    // Renewed by another process, as another host would.
    let renewals = Process()
    renewals.executableURL = URL(fileURLWithPath: "/bin/sh")
    renewals.arguments = ["-c", "while touch '\(folder.path)/.lease'; do sleep 0.05; done"]
    try renewals.run()
    defer { renewals.terminate() }
    let error = #expect(throws: CheckpointError.self) { try take(observing: 60) }
    #expect(error?.description.contains("on elsewhere, job 77)") == true)
  }

  @Test func anotherHostThatDoesNotRenewItLosesIt() throws {
    try write(holder(host: "elsewhere", boot: "other"))
    let lease = try take()
    try lease.requireHeld()
    #expect(try names() == [".lease"])
  }

  @Test func aRestartedHostOrAnotherContainerIsObserved() throws {
    try write(holder(boot: "an earlier start"))
    try take().requireHeld()
  }

  @Test func aDamagedLeaseIsReplaced() throws {
    try folder.write(".lease", "{")
    try take().requireHeld()
  }

  /// A process that was stopped for a long time must not write over another's run.
  @Test func aLeaseThatWasTakenOverIsNoticed() throws {
    let lease = try take()
    try write(holder(host: "elsewhere"))
    let error = #expect(throws: CheckpointError.self) { try lease.requireHeld() }
    #expect(error?.description.contains("another run has taken over the output directory") == true)
    withExtendedLifetime(lease) {}
  }

  /// Of many processes that find a stale lease, one replaces it.
  @Test func oneOfManyReplacesAStaleLease() throws {
    for _ in 0..<20 {
      try write(holder(started: "1"))
      let taken = Mutex<[RunLease]>([])
      DispatchQueue.concurrentPerform(iterations: 8) { _ in
        if let lease = try? take() { taken.withLock { $0.append(lease) } }
      }
      let leases = taken.withLock { $0 }
      #expect(leases.count == 1)
      try leases.first?.requireHeld()
    }
  }
}
