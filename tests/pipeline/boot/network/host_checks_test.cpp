#include "pipeline/boot/network/host_checks.hpp"

#include <catch2/catch.hpp>

using namespace nanobox;

TEST_CASE("a firewall that drops what the host forwards is named", "[host-checks]") {
  const auto found = dropping_forward_chains(R"(table ip filter {
	chain INPUT {
		type filter hook input priority filter; policy drop;
	}
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
	chain DOCKER-USER {
	}
}
table inet nanobox {
	chain forward {
		type filter hook forward priority filter; policy accept;
	}
}
)");
  CHECK(found == std::vector<std::string>{"ip filter FORWARD"});
}

TEST_CASE("where nothing is dropped no chain is named", "[host-checks]") {
  CHECK(dropping_forward_chains("").empty());
  CHECK(dropping_forward_chains("table ip filter {\n\tchain FORWARD {\n").empty());
}
