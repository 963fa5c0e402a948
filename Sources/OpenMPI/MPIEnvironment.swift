import COpenMPI
import Collectives
import Foundation
import Synchronization

/// The start and the end of Open MPI within this process.
public enum MPIEnvironment {
  /// Tells whether a launcher such as `mpirun` started this process.
  ///
  /// Decided from environment variables, before `MPI_Init`. Where it is false use
  /// ``SingleProcessCommunicator``: starting Open MPI would start a daemon for a world of one.
  public static var isLaunchedByMPI: Bool {
    LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunchedByMPI
  }

  /// Connects this process with the other ranks (`MPI_Init_thread`).
  ///
  /// Collective: every rank calls it once, from the thread that will communicate. Only that thread
  /// calls MPI (funneled), or one at a time of it and a progress thread (serialized).
  ///
  /// - Parameter progress: Who moves messages on while the ranks compute; nil: nobody, for a measurement of what that costs.
  /// - Returns: All ranks of the job.
  /// - Throws: ``CommunicationError`` if Open MPI cannot start.
  public static func initialize(
    progress: ProgressMode? = .poll
  ) throws -> MPICommunicator {
    precondition(!isInitialized, "Open MPI can be started only once in a process")
    let (wanted, name) =
      progress == .thread
      ? (MPI_THREAD_SERIALIZED, "MPI_THREAD_SERIALIZED")
      : (MPI_THREAD_FUNNELED, "MPI_THREAD_FUNNELED")
    var provided: Int32 = 0
    try MPIError.check(
      MPI_Init_thread(nil, nil, Int32(wanted), &provided), in: "MPI_Init_thread", rank: nil)
    guard provided >= Int32(wanted) else {
      throw CommunicationError(
        "This Open MPI was built without thread support (\(name)): install one that has it, such "
          + "as the package libopenmpi-dev.")
    }
    let communicator = try MPICommunicator(progress)
    started.withLock { $0 = communicator }
    return communicator
  }

  private static let started = Mutex<MPICommunicator?>(nil)

  /// Leaves the job in good order (`MPI_Finalize`).
  ///
  /// Collective: every rank calls it as its last exchange. Does nothing if Open MPI was not started
  /// or has been left already.
  ///
  /// - Throws: ``CommunicationError`` if a peer cannot be reached any more.
  public static func finalize() throws {
    guard isInitialized, !isFinalized else { return }
    started.withLock { $0?.finish() }
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

/// The one funnel through which every return code of Open MPI passes.
enum MPIError {
  /// Does nothing for `MPI_SUCCESS` and throws Open MPI's own explanation for all other codes.
  ///
  /// - Parameters:
  ///   - code: What the call returned.
  ///   - call: The name of the call, such as "MPI_Bcast".
  ///   - rank: The calling rank; nil before there is one.
  /// - Throws: ``CommunicationError`` naming the call, the rank and the cause.
  static func check(_ code: Int32, in call: StaticString, rank: Int?) throws {
    guard code != MPI_SUCCESS else { return }
    let place = rank.map { " on rank \($0)" } ?? ""
    throw CommunicationError(
      "\(call) failed\(place): \(text(of: code)); see which rank reported first, and that all "
        + "ranks run the same program with the same flags.")
  }

  /// Open MPI's words for an error code.
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
