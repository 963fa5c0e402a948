import COpenMPI
import Collectives
import Foundation
import Synchronization

/// The initialization and finalization of Open MPI in this process.
public enum MPIEnvironment {
  /// Whether a launcher such as `mpirun` started this process.
  ///
  /// Environment variables decide it, before `MPI_Init`. If it is false, use `SingleProcessCommunicator`: initializing
  /// Open MPI would start a daemon for a world of one rank.
  public static var isLaunchedByMPI: Bool {
    LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunchedByMPI
  }

  /// Collective: initializes Open MPI and connects this process to the other ranks (`MPI_Init_thread`).
  ///
  /// Call it once per process, on the thread that will communicate. Only that thread calls MPI (funneled). With a progress
  /// thread, one of the two at a time does (serialized).
  ///
  /// - Parameter progress: The thread that polls for progress while the ranks compute. If `nil`, messages progress only
  ///   in blocking calls, which a benchmark measures.
  /// - Returns: All ranks of the job.
  /// - Throws: `CommunicationError` if Open MPI cannot start.
  public static func initialize(
    progress: ProgressMode? = .poll
  ) throws -> MPICommunicator {
    precondition(!isInitialized, "Open MPI can be initialized only once per process")
    let (required, name) =
      progress == .thread
      ? (MPI_THREAD_SERIALIZED, "MPI_THREAD_SERIALIZED")
      : (MPI_THREAD_FUNNELED, "MPI_THREAD_FUNNELED")
    var provided: Int32 = 0
    try MPIError.check(
      MPI_Init_thread(nil, nil, Int32(required), &provided), in: "MPI_Init_thread", rank: nil)
    guard provided >= Int32(required) else {
      throw CommunicationError(
        "This Open MPI was built without thread support (\(name)): install one that has it, such "
          + "as the package libopenmpi-dev.")
    }
    let communicator = try MPICommunicator(progress)
    active.withLock { $0 = communicator }
    return communicator
  }

  /// Collective: returns the communicator of the ranks that compute, in the same order.
  ///
  /// Afterwards the ranks use `world` only to end together, with ``MPICommunicator/waitForAllRanks()``.
  ///
  /// - Parameters:
  ///   - world: All ranks of the job.
  ///   - computes: Whether each rank computes; the same table on every rank.
  /// - Returns: `nil` on a rank that does not compute.
  /// - Throws: `CommunicationError` if communication fails.
  public static func communicator(of world: MPICommunicator, computes: [Bool]) throws -> MPICommunicator? {
    // Only one thread at a time may be inside MPI, and each communicator has a lock.
    world.stopProgressThread()
    let part = try world.split(computes)
    active.withLock { $0 = part ?? world }
    return part
  }

  /// The longest time for which a rank may wait in `MPI_Finalize` for the others, which may still write files.
  public static let finalizeSeconds: UInt32 = 600

  private static let active = Mutex<MPICommunicator?>(nil)

  /// Collective: finalizes Open MPI (`MPI_Finalize`); no MPI call may follow.
  ///
  /// Does nothing if Open MPI was not initialized or is already finalized.
  ///
  /// - Parameter limitSeconds: The time after which the process ends with exit code 69, if a rank never finalizes.
  /// - Throws: `CommunicationError` if a peer is no longer reachable.
  public static func finalize(limitSeconds: UInt32 = finalizeSeconds) throws {
    guard isInitialized, !isFinalized else { return }
    active.withLock { $0?.stopProgressThread() }
    // It waits for all ranks, and no watchdog runs any more.
    ExitAlarm.start(seconds: limitSeconds, exitCode: 69)
    defer { ExitAlarm.stop() }
    try MPIError.check(MPI_Finalize(), in: "MPI_Finalize", rank: nil)
  }

  /// The library's name and version, for example `Open MPI v4.1.4`.
  public static var libraryVersion: String {
    var text = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING))
    var length: Int32 = 0
    guard MPI_Get_library_version(&text, &length) == Int32(MPI_SUCCESS) else { return "unknown" }
    let bytes = text.prefix(Int(length)).map { UInt8(bitPattern: $0) }
    return String(String(decoding: bytes, as: UTF8.self).prefix { $0 != "," && $0 != "\n" })
  }

  private static var isInitialized: Bool {
    var flag: Int32 = 0
    MPI_Initialized(&flag)
    return flag != 0
  }

  private static var isFinalized: Bool {
    var flag: Int32 = 0
    MPI_Finalized(&flag)
    return flag != 0
  }
}

/// The check of every return code of Open MPI.
enum MPIError {
  /// Throws an error with Open MPI's explanation unless the code is `MPI_SUCCESS`.
  ///
  /// - Parameters:
  ///   - code: The return code.
  ///   - call: The name of the call, such as "MPI_Bcast".
  ///   - rank: The calling rank, or `nil` if it is not known yet.
  ///   - message: The message, if the call concerns one.
  /// - Throws: `CommunicationError` with the call, the rank, the other rank and the cause.
  static func check(_ code: Int32, in call: StaticString, rank: Int?, _ message: MPIMessage? = nil) throws {
    guard code != MPI_SUCCESS else { return }
    throw error(code, in: call, rank: rank, message)
  }

  /// Returns the error of a return code other than `MPI_SUCCESS`.
  ///
  /// - Parameters:
  ///   - code: The return code.
  ///   - call: The name of the call.
  ///   - rank: The calling rank, or `nil` if it is not known yet.
  ///   - message: The message, if the call concerns one.
  /// - Returns: The error.
  static func error(_ code: Int32, in call: StaticString, rank: Int?, _ message: MPIMessage?) -> CommunicationError {
    let location = rank.map { " on rank \($0)" } ?? ""
    let subject = message.map { ", \($0.description)" } ?? ""
    return CommunicationError(
      "\(call) failed\(location)\(subject): \(text(of: code)); find the rank that reported first, and check that all "
        + "ranks run the same program with the same flags.")
  }

  /// Open MPI's description of an error code.
  private static func text(of code: Int32) -> String {
    var length: Int32 = 0
    let characters = [CChar](unsafeUninitializedCapacity: Int(MPI_MAX_ERROR_STRING)) {
      buffer, count in
      let known = MPI_Error_string(code, buffer.baseAddress, &length) == MPI_SUCCESS
      count = known ? Int(length) : 0
    }
    guard !characters.isEmpty else { return "error code \(code)" }
    return String(decoding: characters.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
