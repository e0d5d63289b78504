#include "proxy/base/cpu_quota.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>

#include <fstream>
#include <thread>

namespace pgveil::proxy {
namespace {

// A tree of control groups in a folder, which is removed after the test.
class ControlGroups : public testing::Test {
 protected:
  ControlGroups() {
    std::string path = std::filesystem::temp_directory_path() / "pgveil-cpus-XXXXXX";
    place_ = ::mkdtemp(path.data());
    std::filesystem::create_directories(root());
  }
  ~ControlGroups() override { std::filesystem::remove_all(place_); }

  void set_own(const std::string& content) { std::ofstream(self()) << content; }
  void set_max(const std::filesystem::path& group, const std::string& content) {
    std::filesystem::create_directories(root() / group);
    std::ofstream(root() / group / "cpu.max") << content;
  }
  [[nodiscard]] std::optional<double> quota() const { return cpu_quota(self(), root()); }

 private:
  [[nodiscard]] std::filesystem::path root() const { return place_ / "fs"; }
  [[nodiscard]] std::filesystem::path self() const { return place_ / "self"; }

  std::filesystem::path place_;
};

TEST_F(ControlGroups, GrantWhatTheOwnGroupHas) {
  set_own("0::/system.slice/pgveil.service\n");
  set_max("system.slice/pgveil.service", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
}

TEST_F(ControlGroups, GrantNoMoreThanAnyGroupAboveHas) {
  set_own("0::/kubepods/pod/container\n");
  set_max("kubepods", "800000 100000\n");
  set_max("kubepods/pod", "200000 100000\n");
  set_max("kubepods/pod/container", "400000 100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(ControlGroups, LimitNothingWithTheWordMax) {
  set_own("0::/a/b\n");
  set_max("a", "300000 100000\n");
  set_max("a/b", "max 100000\n");
  EXPECT_EQ(quota(), 3.0);
  set_max("a", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST_F(ControlGroups, AreThoseOfTheContainerWhereItSeesItsOwnRoot) {
  set_own("0::/\n");
  set_max("", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(ControlGroups, AreFoundInAContainerThatIsToldThePathOfTheHost) {
  set_own("0::/system.slice/docker-4711.scope\n");
  set_max("", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(ControlGroups, AreFoundAmongThoseOfVersion1) {
  set_own("4:cpu,cpuacct:/other\n1:name=systemd:/other\n0::/mine\n");
  set_max("other", "100000 100000\n");
  set_max("mine", "200000 100000\n");
  EXPECT_EQ(quota(), 2.0);
}

TEST_F(ControlGroups, OutsideOfTheTreeAreNotLookedFor) {
  set_own("0::/../outside\n");
  set_max("../outside", "100000 100000\n");
  set_max("", "400000 100000\n");
  EXPECT_EQ(quota(), 4.0);
}

TEST_F(ControlGroups, ThatCannotBeUnderstoodLimitNothing) {
  EXPECT_EQ(quota(), std::nullopt);  // without any file
  set_own("0::/a\n");
  for (const char* nonsense : {"", "much", "100000", "100000 0", "99999999999999999999999 100000"}) {
    set_max("a", nonsense);
    EXPECT_EQ(quota(), std::nullopt) << nonsense;
  }
}

TEST(GrantedCpus, AreTheSmallerOfAffinityAndQuotaRoundedUp) {
  EXPECT_EQ((GrantedCpus{.affinity = 8, .quota = std::nullopt}.count()), 8U);
  EXPECT_EQ((GrantedCpus{.affinity = 8, .quota = 1.5}.count()), 2U);
  EXPECT_EQ((GrantedCpus{.affinity = 8, .quota = 2.0}.count()), 2U);
  EXPECT_EQ((GrantedCpus{.affinity = 1, .quota = 6.0}.count()), 1U);
}

TEST(GrantedCpus, AreAtLeastOne) {
  EXPECT_EQ((GrantedCpus{.affinity = 8, .quota = 0.01}.count()), 1U);
  EXPECT_EQ((GrantedCpus{.affinity = 8, .quota = 0.0}.count()), 1U);
  EXPECT_EQ((GrantedCpus{.affinity = 0, .quota = std::nullopt}.count()), 1U);
}

TEST(GrantedCpus, SayWhereTheyComeFrom) {
  EXPECT_EQ((GrantedCpus{.affinity = 2, .quota = std::nullopt}.text()), "affinity 2, cpu.max none");
  EXPECT_EQ((GrantedCpus{.affinity = 16, .quota = 1.5}.text()), "affinity 16, cpu.max 1.5");
}

TEST(GrantedCpus, FollowTheAffinityMask) {
  unsigned granted = 0;
  std::thread pinned([&granted] {  // each thread has its own mask
    cpu_set_t all;
    ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
    int first = 0;
    while (!CPU_ISSET(first, &all)) ++first;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    granted = granted_cpus().affinity;
  });
  pinned.join();
  EXPECT_EQ(granted, 1U);
}

}  // namespace
}  // namespace pgveil::proxy
