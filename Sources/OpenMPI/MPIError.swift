import COpenMPI
import Collectives

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
