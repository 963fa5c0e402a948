import Collectives
import TestSupport
import Testing

@Suite struct StartupConsensusTests {
  @Test(arguments: 1...5)
  func noFailure(worldSize: Int) throws {
    let failures = try ThreadCommunicator.run(worldSize: worldSize) {
      try StartupConsensus.agree(on: nil, communicator: $0)
    }
    #expect(failures == [StartupConsensus.FirstFailure?](repeating: nil, count: worldSize))
  }

  @Test func allRanksReturnTheFailureOfTheLowestRank() throws {
    let failures = try ThreadCommunicator.run(worldSize: 4) { communicator in
      let failure =
        communicator.rank == 3
        ? StartupFailure(exitCode: 74, message: "full")
        : communicator.rank == 1 ? StartupFailure(exitCode: -5, message: "Größe fehlt ☃") : nil
      return try StartupConsensus.agree(on: failure, communicator: communicator)
    }
    for first in failures {
      #expect(first?.rank == 1)
      #expect(first?.failure == StartupFailure(exitCode: -5, message: "Größe fehlt ☃"))
    }
  }

  @Test func messagesAreTruncatedBetweenCharacters() throws {
    for (message, kept) in [
      (String(repeating: "a", count: 1_024), 1_024), (String(repeating: "a", count: 3_000), 1_024),
      (String(repeating: "☃", count: 400), 341), ("", 0),
    ] {
      let first = try StartupConsensus.agree(
        on: StartupFailure(exitCode: 65, message: message), communicator: SingleProcessCommunicator())
      #expect(first?.failure.message == String(message.prefix(kept)))
      #expect(first?.failure.exitCode == 65)
    }
  }

  @Test func aFailureWithExitCodeZeroTraps() async {
    await #expect(processExitsWith: .failure) {
      _ = StartupFailure(exitCode: 0, message: "fine")
    }
  }
}
