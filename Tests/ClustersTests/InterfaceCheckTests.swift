import Clusters
import Testing

@Suite struct InterfaceCheckTests {
  private func interface(_ name: String, _ address: String, _ length: Int) -> NetworkInterface {
    NetworkInterface(name: name, address: NetworkAddress(address) ?? NetworkAddress(bits: 0), prefixLength: length)
  }

  private var docker: NetworkInterface { interface("docker0", "172.17.0.1", 16) }

  @Test func rangesAreParsedAndContainAddresses() throws {
    let range = try #require(NetworkRange("10.1.2.3/16"))
    #expect(range.description == "10.1.0.0/16")
    #expect(range.contains(NetworkAddress(bits: 0x0a01_ffff)) && !range.contains(NetworkAddress(bits: 0x0a02_0000)))
    #expect(NetworkRange("0.0.0.0/0")?.contains(NetworkAddress(bits: .max)) == true)
    #expect(NetworkRange("1.2.3.4/32")?.contains(NetworkAddress(bits: 0x0102_0305)) == false)
    for text in ["10.0.0.0", "10.0.0/8", "10.0.0.0/33", "10.0.0.256/8", "10.0.0.0/-1", "a/8", "10.0.0.+1/8", ""] {
      #expect(NetworkRange(text) == nil, "\(text)")
    }
  }

  @Test func anAddressOnTwoHostsIsReportedWithTheNetworkToUse() {
    let hosts = [
      HostInterfaces(
        host: "a", interfaces: [docker, interface("lo", "127.0.0.1", 8), interface("eth0", "10.0.0.1", 16)]),
      HostInterfaces(
        host: "b", interfaces: [interface("lo", "127.0.0.1", 8), docker, interface("ib0", "10.0.0.2", 16)]),
    ]
    let found = InterfaceCheck.sharedAddresses(hosts)
    #expect(found.count == 1)
    #expect(found[0].contains("172.17.0.1 is used more than once, by docker0 on a, docker0 on b"))
    #expect(found[0].contains("--interface 10.0.0.0/16 (mpirun --mca btl_tcp_if_include 10.0.0.0/16"))
    #expect(InterfaceCheck.sharedAddresses([hosts[0]]).isEmpty)
  }

  @Test func noNetworkIsAdvisedWithoutACommonOne() {
    let hosts = ["a", "b"].map { HostInterfaces(host: $0, interfaces: [docker]) }
    #expect(InterfaceCheck.sharedAddresses(hosts).first?.contains("name the network") == true)
    let own = HostInterfaces(host: "a", interfaces: [docker, interface("virbr0", "172.17.0.1", 24)])
    #expect(InterfaceCheck.sharedAddresses([own]).first?.contains("docker0 on a, virbr0 on a") == true)
  }

  @Test func bridgesAreReported() {
    #expect(InterfaceCheck.bridges([interface("eth0", "10.0.0.1", 16)]) == nil)
    let sentence = InterfaceCheck.bridges([docker, interface("eth0", "10.0.0.1", 16)])
    #expect(sentence?.contains("docker0 172.17.0.1/16 connects to no other host") == true)
    #expect(sentence?.hasSuffix("--interface 10.0.0.0/16") == true)
  }

  @Test func aSelectionIsDescribedOrRefused() throws {
    let here = [docker, interface("eth0", "10.0.0.1", 16)]
    #expect(try InterfaceCheck.describeSelection("10.0.0.0/8", interfaces: here).contains("selects eth0 10.0.0.1/16"))
    #expect(try InterfaceCheck.describeSelection("10.0.0.0/8", interfaces: here).contains("btl_tcp_if_include"))
    #expect(try InterfaceCheck.describeSelection("eth0", interfaces: here).contains("10.0.0.0/16"))
    for (choice, words) in [
      ("192.168.0.0/16", "no address of this host"), ("eth1", "not an interface"), ("10.0.0/8", "not a range"),
    ] {
      let error = #expect(throws: InterfaceCheck.Unusable.self) {
        try InterfaceCheck.describeSelection(choice, interfaces: here)
      }
      #expect(error?.description.contains(words) == true)
      if choice != "10.0.0/8" {
        #expect(error?.description.contains("docker0 172.17.0.1/16, eth0 10.0.0.1/16") == true)
      }
    }
  }

  @Test func hostsRoundTripThroughALine() {
    let host = HostInterfaces(host: "node01", interfaces: [docker, interface("eth0", "10.0.0.1", 16)])
    #expect(HostInterfaces(line: host.line) == host)
    #expect(HostInterfaces(line: "") == nil)
    #expect(HostInterfaces(line: "node01\tnonsense") == nil)
    #expect(HostInterfaces(line: "node01\tlo 127.0.0.1/99") == nil)
    #expect(NetworkInterface.current().contains { $0.isLoopback })
  }
}
