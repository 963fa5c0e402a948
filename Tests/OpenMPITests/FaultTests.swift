import Foundation
import Glibc
import TestSupport
import Testing

/// Exit codes and messages of jobs with a failing rank; `mpirun --timeout` (exit code 110) bounds every wait.
@Suite(.serialized) struct FaultTests {
  @Test(
    arguments: [("trap", 132), ("exit", 3), ("kill", 137), ("abort", 42), ("throw", 69)]
      as [(String, Int32)], 2...4)
  func aFailingRankEndsTheJobWithItsCode(fault: (how: String, exitCode: Int32), ranks: Int) throws {
    var job = MPIRun(ranks: ranks, "rank-worker", ["fault", fault.how])
    job.timeout = .seconds(60)
    let output = try job.run()
    #expect(output.exitCode == fault.exitCode, "\(output.standardError)")
    #expect(!output.timedOut)
    #expect(output.lines.isEmpty)
  }

  @Test func aHangingRankIsEndedByTheTimeout() throws {
    var job = MPIRun(ranks: 2, "rank-worker", ["fault", "hang"])
    job.timeout = .seconds(3)
    #expect(try job.run().exitCode == 110)
  }

  /// A rank that is stopped never finalizes.
  ///
  /// An alarm ends the others, and `mpirun` the stopped one.
  @Test(arguments: 2...3)
  func anAlarmEndsAFinalizationThatHangs(ranks: Int) throws {
    var job = MPIRun(ranks: ranks, "rank-worker", ["fault", "stop-at-end"])
    job.timeout = .seconds(60)
    let output = try job.run()
    #expect(output.exitCode == 69, "\(output.standardError)")
    #expect(output.standardError.contains("MPI does not return while the job ends"), "\(output.standardError)")
  }

  /// `MPI_Abort` waits for `mpirun`, which is stopped here; an alarm ends the rank meanwhile.
  @Test func anAlarmEndsAnAbortThatHangs() throws {
    let folder = try TemporaryDirectory()
    let output = try MPIRun(ranks: 2, "rank-worker", ["fault", "abort-late", "\(folder.path)/ready"]).run { mpirun in
      // The rank aborts three seconds after it has written its number.
      var rank = pid_t(0)
      for _ in 0..<3000 where rank == 0 {
        usleep(10_000)
        rank = pid_t(folder.read("ready")) ?? 0
      }
      #expect(kill(mpirun, SIGSTOP) == 0)
      var isRunning = true
      for _ in 0..<6000 where isRunning {
        usleep(10_000)
        let state = (try? String(contentsOfFile: "/proc/\(rank)/stat", encoding: .utf8)) ?? ""
        // A zombie has ended; its parent is stopped.
        isRunning = state.split(separator: ")").last.map { !$0.hasPrefix(" Z") } ?? false
      }
      kill(mpirun, SIGCONT)
      #expect(!isRunning)
    }
    #expect(output.exitCode == 42, "\(output.standardError)")
    #expect(output.standardError.contains("MPI does not return while the job ends"), "\(output.standardError)")
  }

  @Test func theErrorNamesTheRankAndTheCause() throws {
    let output = try MPIRun(ranks: 3, "rank-worker", ["fault", "throw"]).run()
    #expect(output.standardError.contains("[rank 2 of 3] the last rank throws"))
  }

  @Test(arguments: 2...4)
  func unequalCountsAreReported(ranks: Int) throws {
    let output = try MPIRun(ranks: ranks, "rank-worker", ["unequal"]).run()
    #expect(output.exitCode == 69)
    #expect(output.standardError.contains("MPI_Bcast failed on rank "))
    #expect(output.standardError.contains("MPI_ERR_TRUNCATE"))
  }

  /// A failed message names the other rank, with either kind of progress, also if polling found it before the wait.
  @Test(
    arguments: [
      ("long", "MPI_ERR_TRUNCATE"), ("short", "Rank 1 received 8 bytes while"),
    ], [["poll"], ["thread"], ["poll", "polled"], ["thread", "polled"]])
  func aFailedMessageNamesThePeer(fault: (how: String, words: String), progress: [String]) throws {
    let output = try MPIRun(ranks: 2, "rank-worker", ["bad-message", fault.how] + progress).run()
    #expect(output.exitCode == 69, "\(output.standardError)")
    #expect(output.standardError.contains(fault.words), "\(output.standardError)")
    let expected = fault.how == "long" ? 8 : 64
    #expect(
      output.standardError.contains("receiving \(expected) bytes from rank 0 (tag 5)"), "\(output.standardError)")
  }

  @Test(arguments: [
    ("count", "would move 2147483648 bytes in one message, but MPI counts at most 2147483647"),
    ("tag", "would use the tag 1099511627776, but this MPI allows at most "),
  ])
  func messagesThatMPICannotDescribeThrow(how: String, words: String) throws {
    let output = try MPIRun(ranks: 2, "rank-worker", ["bad-message", how]).run()
    #expect(output.exitCode == 69, "\(output.standardError)")
    #expect(output.standardError.contains(words), "\(output.standardError)")
  }
}
