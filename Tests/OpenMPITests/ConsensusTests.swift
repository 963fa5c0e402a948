import Foundation
import TestSupport
import Testing

/// Ranks that fail at startup, under the real `mpirun`.
@Suite(.serialized) struct ConsensusTests {
  @Test func oneRankFailingEndsAllWithItsCodeAndOneMessage() throws {
    let output = try MPIRun(ranks: 4, "rank-worker", ["consensus", "2"]).run()
    #expect(output.exitCode == 66)
    #expect(output.lines.isEmpty)
    let message = "[rank 2 of 4] The data of rank 2 are missing: run launch/fetch-cifar10."
    #expect(output.standardError.components(separatedBy: message).count == 2)
  }

  @Test func theLowestFailingRankIsReported() throws {
    let output = try MPIRun(ranks: 4, "rank-worker", ["consensus", "3,1,2"]).run()
    #expect(output.exitCode == 65)
    #expect(output.standardError.contains("The data of rank 1 are missing"))
    #expect(!output.standardError.contains("The data of rank 2"))
    #expect(!output.standardError.contains("The data of rank 3"))
  }

  @Test(arguments: 1...4)
  func healthyRanksStart(ranks: Int) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["consensus", ""]).run()
    #expect(output.exitCode == 0, "\(output.standardError)")
    #expect(output.lines.sorted() == (0..<ranks).map { "rank \($0) starts" })
  }
}
