import Foundation
import Glibc
import Support
import Synchronization

/// The exclusive right to write to a run's directory: the file `.lease`, which names its holder.
///
/// Unlike a lock of the file system it holds across the clients of NFS. The file is complete when it appears, because it is
/// linked to its name. A holder on this host is alive if its process is. A holder on another host renews the file every ten
/// seconds; a lease that is not renewed while it is observed is stale. A stale lease is replaced.
public final class RunLease: Sendable {
  /// The process that holds a lease.
  package struct Holder: Codable, Hashable {
    /// The host's name.
    package let host: String
    /// Linux's identifier of the host's last start, and of the container's processes.
    package let boot: String
    /// The number of the process.
    package let process: Int32
    /// The start of the process in clock ticks; a number is used again.
    package let started: String
    /// The job of the batch system.
    package let job: String?
    /// A random identifier of this lease.
    package let token: String

    /// Describes a process.
    package init(host: String, boot: String, process: Int32, started: String, job: String?, token: String) {
      self.host = host
      self.boot = boot
      self.process = process
      self.started = started
      self.job = job
      self.token = token
    }
  }

  /// The seconds between renewals.
  package static let renewalSeconds = 10.0
  /// The seconds for which another host's lease is observed.
  package static let observationSeconds = 35.0

  private let directory: String
  private let path: String
  private let contents: [UInt8]
  private let renewalSeconds: Double
  private let isReleased = Atomic<Bool>(false)

  /// Takes the lease of a directory.
  ///
  /// Returns at once unless a process of another host holds it; then it waits for a renewal or for
  /// ``observationSeconds``.
  ///
  /// - Parameters:
  ///   - directory: An existing directory.
  ///   - holder: This process. If `nil`, it is read from the system.
  ///   - renewalSeconds: The seconds between renewals.
  ///   - observationSeconds: The seconds after which another host's lease is stale.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if another process holds it or the file cannot be written,
  ///   `SystemThread.StartError` if the renewing thread cannot be started.
  package init(
    _ directory: String, holder: Holder?, renewalSeconds: Double = RunLease.renewalSeconds,
    observationSeconds: Double = RunLease.observationSeconds
  ) throws {
    let own = holder ?? .current()
    self.directory = directory
    self.renewalSeconds = renewalSeconds
    path = "\(directory)/.lease"
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    contents = Array(try encoder.encode(own)) + [UInt8(ascii: "\n")]
    try take(own, observationSeconds: observationSeconds)
    try SystemThread.start("wrn-lease", stackSize: 256 << 10) { [weak self, renewalSeconds] in
      while true {
        usleep(UInt32(renewalSeconds * 1e6))
        guard let self, self.renew() else { return }
      }
    }
  }

  /// Takes the lease of a directory for this process.
  ///
  /// - Parameter directory: An existing directory.
  /// - Throws: ``CheckpointError`` of kind `cannotCreate` if another process holds it or the file cannot be written,
  ///   `SystemThread.StartError` if the renewing thread cannot be started.
  public convenience init(_ directory: String) throws { try self.init(directory, holder: nil) }

  /// Removes the file, unless another process has replaced it.
  deinit {
    isReleased.store(true, ordering: .relaxed)
    if isHeld() { unlink(path) }
  }

  /// Verifies that this process still holds the lease.
  ///
  /// - Throws: ``CheckpointError`` of kind `cannotCreate`.
  package func requireHeld() throws {
    if !isHeld() {
      throw CheckpointError(
        .cannotCreate,
        "another run has taken over the output directory \(directory), because this one was stopped or its lease was "
          + "removed; give another --output-dir, or start again when the other has ended.")
    }
  }

  private func take(_ own: Holder, observationSeconds: Double) throws {
    let temporary = "\(path).\(own.token)"
    defer { unlink(temporary) }
    do {
      let file = try OutputFile(temporary, .new)
      try contents.withUnsafeBytes { try file.write($0) }
      try file.close()
    } catch {
      throw CheckpointError(
        .cannotCreate, "the output directory \(directory) cannot be written; give another one with --output-dir.")
    }
    // Another attempt follows each stale lease that was removed, by this process or by another.
    for _ in 0..<8 {
      if link(temporary, path) == 0 { return }
      guard errno == EEXIST else { return try takeWithoutLinks() }
      guard let seen = FileManager.default.contents(atPath: path) else { continue }
      let other = try? JSONDecoder().decode(Holder.self, from: seen)
      if let other, !isStale(other, seen, own, observationSeconds: observationSeconds) {
        let job = other.job.map { ", job \($0)" } ?? ""
        throw CheckpointError(
          .cannotCreate,
          "another run writes to the output directory \(directory) (process \(other.process) on \(other.host)\(job)); wait "
            + "until it ends or give another --output-dir.")
      }
      discard(seen, as: "\(temporary).stale")
    }
    throw CheckpointError(
      .cannotCreate, "several runs compete for the output directory \(directory); start one of them again.")
  }

  /// Creates the file on a file system without hard links.
  private func takeWithoutLinks() throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
    defer { if descriptor >= 0 { close(descriptor) } }
    let written = descriptor < 0 ? -1 : contents.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    guard written == contents.count else {
      throw CheckpointError(
        .cannotCreate, "\(path) cannot be created: \(OutputFile.reason); remove it if no run writes to \(directory).")
    }
  }

  /// Removes a stale lease, and restores one that another process has taken meanwhile.
  private func discard(_ seen: Data, as name: String) {
    guard rename(path, name) == 0 else { return }
    if FileManager.default.contents(atPath: name) != seen { link(name, path) }
    unlink(name)
  }

  private func isStale(_ other: Holder, _ seen: Data, _ own: Holder, observationSeconds: Double) -> Bool {
    if other.host == own.host && other.boot == own.boot { return Holder.start(of: other.process) != other.started }
    let start = MonotonicClock.now()
    let renewed = modificationTime()
    while MonotonicClock.seconds(since: start) < observationSeconds {
      usleep(UInt32(min(renewalSeconds, 1) * 1e6))
      guard FileManager.default.contents(atPath: path) == seen else { return true }
      if modificationTime() != renewed { return false }
    }
    return true
  }

  /// The file's time, read from an open file, for which NFS asks the server.
  private func modificationTime() -> Int? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    return status.st_mtim.tv_sec &* 1_000_000_000 &+ status.st_mtim.tv_nsec
  }

  /// Renews the lease; allocates nothing.
  ///
  /// - Returns: Whether it is still held.
  private func renew() -> Bool {
    guard !isReleased.load(ordering: .relaxed) else { return false }
    return isHeld { futimens($0, nil) }
  }

  /// Returns whether the file has this lease's contents, after calling a body with its descriptor if it has.
  private func isHeld(_ body: (Int32) -> Void = { _ in }) -> Bool {
    let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return withUnsafeTemporaryAllocation(byteCount: contents.count + 1, alignment: 1) { found in
      guard read(descriptor, found.baseAddress, found.count) == contents.count, found.starts(with: contents) else {
        return false
      }
      body(descriptor)
      return true
    }
  }
}

extension RunLease.Holder {
  /// This process.
  package static func current() -> RunLease.Holder {
    var name = [CChar](repeating: 0, count: 257)
    gethostname(&name, 256)
    let boot = (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ""
    // Processes of another container have other numbers.
    let namespace = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? ""
    let environment = ProcessInfo.processInfo.environment
    return RunLease.Holder(
      host: String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
      boot: boot.filter { !$0.isWhitespace } + " " + namespace, process: getpid(), started: start(of: getpid()) ?? "",
      job: environment["SLURM_JOB_ID"] ?? environment["PBS_JOBID"], token: UUID().uuidString)
  }

  /// Returns the start of a process in clock ticks after the host's start, or `nil` if there is no such process.
  static func start(of process: Int32) -> String? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return nil }
    // The name in parentheses may contain spaces. The state is field 3 and the start field 22.
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 19, fields[0] != "Z" else { return nil }
    return String(fields[19])
  }
}
