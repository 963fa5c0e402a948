import Collectives
import TestSupport
import Testing

@Suite struct StartupConsensusTests {
  @Test(arguments: 1...5)
  func nobodyFailing(worldSize: Int) throws {
    let verdicts = try ThreadCommunicator.run(worldSize: worldSize) {
      try StartupConsensus.agree(on: nil, communicator: $0)
    }
    #expect(verdicts == [StartupConsensus.FirstFailure?](repeating: nil, count: worldSize))
  }

  @Test func theLowestFailingRankWinsOnAllRanks() throws {
    let verdicts = try ThreadCommunicator.run(worldSize: 4) { world in
      let failure =
        world.rank == 3
        ? StartupFailure(exitCode: 74, message: "full")
        : world.rank == 1 ? StartupFailure(exitCode: -5, message: "Größe fehlt ☃") : nil
      return try StartupConsensus.agree(on: failure, communicator: world)
    }
    for verdict in verdicts {
      #expect(verdict?.rank == 1)
      #expect(verdict?.failure == StartupFailure(exitCode: -5, message: "Größe fehlt ☃"))
    }
  }

  @Test func messagesAreCutBetweenCharacters() throws {
    for (message, kept) in [
      (String(repeating: "a", count: 1_024), 1_024), (String(repeating: "a", count: 3_000), 1_024),
      (String(repeating: "☃", count: 400), 341), ("", 0),
    ] {
      let verdict = try StartupConsensus.agree(
        on: StartupFailure(exitCode: 65, message: message), communicator: SingleProcessCommunicator())
      #expect(verdict?.failure.message == String(message.prefix(kept)))
      #expect(verdict?.failure.exitCode == 65)
    }
  }

  @Test func aFailureWithExitCodeZeroTraps() async {
    await #expect(processExitsWith: .failure) {
      _ = StartupFailure(exitCode: 0, message: "fine")
    }
  }
}
