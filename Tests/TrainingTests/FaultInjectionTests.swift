import Testing
import Training

/// Faults that would never occur are refused, so that no test passes without its fault.
@Suite struct FaultInjectionTests {
  private func fault(_ text: String) throws -> FaultInjection? {
    try FaultInjection(environment: ["WRN_FAULT": text, "WRN_ALLOW_FAULTS": "1"])
  }

  @Test(arguments: [
    ("step=1,phase=write,act=kill", "phase=write needs act=slow"),
    ("step=1,phase=write,act=enospc", "phase=write needs act=slow"),
    ("step=1,phase=write,act=crash-at=rename", "phase=write needs act=slow"),
    ("bitflip:step=1,phase=write,tensor=head.bias", "phase=write needs act=slow"),
    ("rank=1,step=1,phase=write,act=slow", "rank 0 writes all checkpoints"),
    ("rank=1,step=1,act=enospc", "rank 0 writes all checkpoints"),
    ("rank=2,step=1,act=eio", "rank 0 writes all checkpoints"),
    ("rank=1,step=1,act=crash-at=rename", "rank 0 writes all checkpoints"),
    ("step=1,act=kill,once=/no/such/directory/struck", "the file of once cannot be created"),
  ])
  func thoseThatWouldNeverOccur(text: String, words: String) {
    let error = #expect(throws: FaultInjection.Refused.self) { try fault(text) }
    let description = error?.description ?? ""
    #expect(description.hasPrefix("WRN_FAULT=\(text) would never occur") && description.contains(words))
  }

  @Test(arguments: [
    "step=1,phase=write,act=slow", "step=1,act=enospc", "rank=0,step=1,act=eio", "step=1,act=crash-at=rename",
    "step=1,act=kill,once=struck", "step=1,act=kill,once=/tmp/struck",
    "rank=1,step=1,act=kill", "rank=1,step=1,phase=checkpoint,act=slow",
  ])
  func allOthers(text: String) throws {
    #expect(try fault(text) != nil)
  }
}
